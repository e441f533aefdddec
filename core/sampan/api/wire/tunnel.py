"""A hijacked connection: a two-way stream between a client and a container's stream socket.

Each side's end of file is passed on to the other as what it is: the client's as a shutdown for writing, so that a
container's standard input ends while its output goes on; the container's as the end of the connection.
"""

from __future__ import annotations

import asyncio
import select

LINGER = 10.0  # seconds in which a client may still read and leave, once its container has ended


def hung_up(transport: asyncio.Transport) -> bool:
    """Has the peer of a Unix socket closed it, not only shut it down for writing? (poll(2): POLLHUP)"""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLHUP)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class Tunnel(asyncio.Protocol):
    """The container's side of the stream; the connection calls the ``client_…`` methods, at any time: what the client
    does before the container's socket is connected is done to it then."""

    def __init__(self, client: asyncio.Transport, early: bytes = b"") -> None:
        self._client = client
        self._container: asyncio.Transport | None = None
        self._early = early
        self._client_ended = False
        self._client_slow = False
        self._client_gone = False
        self._ended = False

    # the container's socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._container = transport
        if self._early:
            transport.write(self._early)
            self._early = b""
        if self._client_gone:
            transport.close()
        elif self._client_ended:
            transport.write_eof()
        if self._client_slow:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Closing while the client still sends would reset the connection and lose the last output on TCP."""
        self._ended = True
        if self._client.is_closing():
            return
        self._client.resume_reading()
        if self._client.can_write_eof():
            self._client.write_eof()
            asyncio.get_running_loop().call_later(LINGER, self._client.abort)
        else:
            self._client.close()

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    # the client's connection

    def client_sent(self, data: bytes) -> None:
        if self._container is None:
            self._early += data
        elif not self._ended:
            self._container.write(data)

    def client_ended(self) -> bool:
        """The client sends no more. Returns whether the connection stays open for the container's output."""
        if self._ended or hung_up(self._client):
            return False
        self._client_ended = True
        if self._container:
            self._container.write_eof()
        return True

    def client_lost(self) -> None:
        self._client_gone = True
        if self._container:
            self._container.close()

    def client_is_slow(self) -> None:
        self._client_slow = True
        if self._container and not self._ended:
            self._container.pause_reading()

    def client_caught_up(self) -> None:
        self._client_slow = False
        if self._container and not self._ended:
            self._container.resume_reading()
