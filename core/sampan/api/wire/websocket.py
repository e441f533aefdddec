"""A two-way stream in frames (RFC 6455), for clients that attach by a websocket.

wsproto knows the frames; here they meet the tunnel between a client and a container.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from socket import socket
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

from sampan.api.wire.keys import DetachKeys
from sampan.api.wire.tunnel import LINGER, Tunnel
from sampan.errors import Invalid

VERSION = "13"
_KEY = 16  # bytes


def accepted(headers: Mapping[str, str]) -> bytes:
    """The header lines that say yes to a client who wants a websocket. ``Invalid`` if its request is none for that."""
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("connection", "").lower():
        raise Invalid("this is attached to by a websocket: the request has no Connection: Upgrade to websocket")
    if headers.get("sec-websocket-version") != VERSION:
        raise Invalid(f"only version {VERSION} of the websocket protocol is spoken here (Sec-WebSocket-Version)")
    key = headers.get("sec-websocket-key", "").encode()
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        size = 0
    if size != _KEY:
        raise Invalid(f"the websocket's key is not the base64 of {_KEY} bytes (Sec-WebSocket-Key)")
    return b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n" % generate_accept_token(key)


class Framed(asyncio.Transport):
    """The client as the tunnel sees it: what is written to it goes out in frames, with ``text`` of characters."""

    def __init__(self, transport: asyncio.Transport, *, text: bool) -> None:
        super().__init__()
        self._transport = transport
        self._text = text
        self._frames = Connection(ConnectionType.SERVER)

    def received(self, data: bytes, take: Callable[[bytes], object]) -> bool:
        """Whether the client goes on; ``take`` gets what its frames hold."""
        try:
            self._frames.receive_data(data)
        except (LocalProtocolError, RemoteProtocolError):
            return False
        for event in self._frames.events():
            if isinstance(event, BytesMessage):
                take(bytes(event.data))
            elif isinstance(event, TextMessage):
                take(event.data.encode())
            elif isinstance(event, Ping):
                self._transport.write(self._frames.send(event.response()))
            elif isinstance(event, CloseConnection):
                if self._frames.state is ConnectionState.REMOTE_CLOSING:
                    self._transport.write(self._frames.send(event.response()))
                return False
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._frames.state is ConnectionState.OPEN:
            message = TextMessage(bytes(data).decode("utf-8", "replace")) if self._text else BytesMessage(bytes(data))
            self._transport.write(self._frames.send(message))

    def close(self) -> None:
        """The client answers a farewell with its own, and then the connection ends."""
        if self._frames.state is not ConnectionState.OPEN:
            self._transport.close()
            return
        self._transport.write(self._frames.send(CloseConnection(code=1000)))
        asyncio.get_running_loop().call_later(LINGER, self._transport.abort)

    def hang_up(self) -> None:
        self._transport.close()

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class FramedTunnel(Tunnel):
    """A tunnel to a client that speaks in frames."""

    def __init__(
        self,
        client: asyncio.Transport,
        peer: socket,
        leave: DetachKeys | None = None,
        left: Callable[[], object] = bool,
        of: str = "",
        *,
        text: bool = False,
    ) -> None:
        self._framed = Framed(client, text=text)
        super().__init__(self._framed, peer, leave, left, of)

    def client_sent(self, data: bytes) -> None:
        if not self._framed.received(data, super().client_sent):
            self.client_lost()
            self._framed.hang_up()
