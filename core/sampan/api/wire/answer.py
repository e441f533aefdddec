"""What a handler gives back: a reply, a stream, or the connection itself handed over to a container."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from sampan.api.wire.keys import DetachKeys

REASONS = {
    101: "UPGRADED",
    200: "OK",
    201: "Created",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    409: "Conflict",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
NO_HEADERS: Mapping[str, str] = {}
JSON = "application/json"

_encode = msgspec.json.Encoder().encode


class Reply:
    """A whole answer."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, status: int, body: bytes = b"", content_type: str = JSON, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers


class Stream:
    """An answer in pieces.

    ``live``: the head leaves before there is a first piece, and the stream ends when the client closes its side:
    for what may go on for ever (events, following logs, waiting). Otherwise an error before the first piece
    still becomes a status.

    ``guarded``: it has a first piece like any other, but ends when the client closes its side: for long work that
    nobody is to do for a client that is gone.
    """

    __slots__ = ("chunks", "content_type", "guarded", "headers", "live", "status")

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        content_type: str = JSON,
        status: int = 200,
        live: bool = False,
        guarded: bool = False,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.guarded = guarded
        self.chunks = chunks
        self.content_type = content_type
        self.status = status
        self.live = live
        self.headers = headers


class Hijack:
    """The connection becomes a two-way stream between the client and ``peer``, a connected non-blocking socket.

    ``leave`` finds what the client may type to leave; then the stream ends and ``left`` is called. ``of``: whose own
    streams they are, a container's id. ``websocket``: the header lines that agree to one, in whose frames all then
    goes, with ``text`` as characters.
    """

    __slots__ = ("content_type", "leave", "left", "of", "peer", "text", "websocket")

    def __init__(
        self,
        peer: socket.socket,
        content_type: str,
        leave: DetachKeys | None = None,
        left: Callable[[], object] = bool,
        *,
        of: str = "",
        websocket: bytes = b"",
        text: bool = False,
    ) -> None:
        self.of = of
        self.websocket = websocket
        self.text = text
        self.peer = peer
        self.content_type = content_type
        self.leave = leave
        self.left = left


Answer = Reply | Stream | Hijack


def json(value: object, status: int = 200) -> Reply:
    """dockerd ends its JSON with a line feed, and people read it with curl."""
    return Reply(status, _encode(value) + b"\n")


def line(value: object) -> bytes:
    """One object of a stream of JSON objects; dockerd ends these with CR LF."""
    return _encode(value) + b"\r\n"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_date = (0, b"")


def date_header() -> bytes:
    """``Date: …\\r\\n`` (RFC 9110 section 5.6.7), made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        t = time.gmtime(now)
        stamp = f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year}"
        _date = (now, f"Date: {stamp} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT\r\n".encode())
    return _date[1]
