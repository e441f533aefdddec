"""Answers on their way out: heads, bodies, chunks, and waiting for a client that reads slowly."""

from __future__ import annotations

import asyncio
import logging

from sampan.api.wire.answer import REASONS, Reply, Stream, date_header
from sampan.api.wire.request import Request

log = logging.getLogger(__name__)


class Sender:
    """Writes to one connection. ``headers`` go with every answer, each line ended by CR LF."""

    def __init__(self, transport: asyncio.Transport, headers: bytes) -> None:
        self._transport = transport
        self._headers = headers
        self._room: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        return self._room is not None

    def pause(self) -> None:
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        if self._room and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def proceed(self) -> None:
        """The client may send the body (RFC 9110 section 10.1.1)."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def reply(self, reply: Reply, request: Request | None, *, keep: bool) -> None:
        """``request`` is None for one that could not be read; ``keep``: the connection stays open behind it."""
        empty = reply.status in (204, 304)
        framing = "" if empty else f"Content-Length: {len(reply.body)}\r\n"
        parts = self._head(reply.status, "" if empty else reply.content_type, framing, keep)
        parts += [f"{name}: {value}\r\n".encode("latin-1") for name, value in reply.headers.items()]
        parts.append(b"\r\n")
        if not empty and not (request and request.method == "HEAD"):
            parts.append(reply.body)
        self._transport.write(b"".join(parts))

    async def stream(self, stream: Stream, first: bytes, request: Request, *, keep: bool) -> None:
        """The head, ``first`` and all that follows; HTTP/1.0 knows no chunks and reads until the connection ends."""
        chunked = request.version != "1.0"
        framing = "Transfer-Encoding: chunked\r\n" if chunked else ""
        parts = self._head(stream.status, stream.content_type, framing, keep)
        parts += [f"{name}: {value}\r\n".encode("latin-1") for name, value in stream.headers.items()]
        self._transport.write(b"".join([*parts, b"\r\n"]))
        await self._piece(first, chunked)
        try:
            async for piece in stream.chunks:
                await self._piece(piece, chunked)
        except ConnectionError:
            raise
        except Exception as error:
            log.warning("a stream was cut off: %s", error, exc_info=error)
            self._transport.abort()  # the missing last chunk tells the client that this is not all
            return
        if chunked:
            self._transport.write(b"0\r\n\r\n")

    def hand_over(self, content_type: str, *, upgrade: bool, websocket: bytes = b"") -> None:
        """What comes before a two-way stream. Clients of old ask for no upgrade and get one all the same."""
        status = b"101 UPGRADED" if upgrade else b"200 OK"
        switch = websocket or (b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else b"")
        kind = b"" if websocket else f"Content-Type: {content_type}\r\n".encode()
        self._transport.write(b"HTTP/1.1 %b\r\n%b%b%b\r\n" % (status, kind, switch, self._headers))

    def _head(self, status: int, content_type: str, framing: str, keep: bool) -> list[bytes]:
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""
        close = "" if keep else "Connection: close\r\n"
        status_line = f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n"
        return [status_line.encode(), self._headers, date_header(), f"{kind}{framing}{close}".encode()]

    async def _piece(self, data: bytes, chunked: bool) -> None:
        if not data:
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        if self._room:
            await self._room
        if self._transport.is_closing():
            raise ConnectionResetError("the client went away")
