"""Serves an application on listening sockets, and ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable

from sampan.api.listen import BACKLOG, Listener
from sampan.api.wire.connection import Application, Connection

log = logging.getLogger(__name__)

GRACE = 10.0  # seconds for the requests that are being answered when the daemon is told to stop


class Server:
    """Each listener hands its connections to :class:`Connection`; one that speaks TLS would unwrap them first and hand
    over one end of a socket pair, since asyncio's TLS cannot half-close."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._live: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._sockets: list[tuple[Listener, os.stat_result]] = []

    async def start(self, listeners: Iterable[Listener]) -> None:
        loop = asyncio.get_running_loop()
        for listener in listeners:
            if listener.path:
                self._sockets.append((listener, listener.path.stat()))
            listener.socket.setblocking(False)
            make = loop.create_unix_server if listener.path else loop.create_server
            self._servers.append(await make(self._connection, sock=listener.socket, backlog=BACKLOG))

    def _connection(self) -> Connection:
        return Connection(self._app, self._live)

    async def stop(self) -> None:
        """No new connections; requests under way get ``GRACE`` seconds; streams end now."""
        for server in self._servers:
            server.close()
        self._remove_socket_files()
        for connection in tuple(self._live):
            connection.finish()
        if self._live:
            await asyncio.wait([connection.closed for connection in self._live], timeout=GRACE)
        for connection in tuple(self._live):
            log.warning("a request was still being answered after %.0f seconds and is cut off", GRACE)
            connection.abort()

    def _remove_socket_files(self) -> None:
        """Only our own: another daemon may have taken the path since."""
        for listener, made in self._sockets:
            assert listener.path is not None
            with contextlib.suppress(OSError):
                now = listener.path.stat()
                if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                    listener.path.unlink()
