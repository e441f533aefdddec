"""Chunked transfer coding, decoded to the byte (RFC 9112 section 7.1).

A parser of whole messages would read on into what follows the last chunk; here the bytes behind it stay the caller's.
"""

from __future__ import annotations

from sampan.api.wire.request import BadRequest

MAX_LINE = 4096  # bytes of a chunk's size line, or of all trailers

_HEX = frozenset(b"0123456789abcdefABCDEF")


class ChunkedReader:
    """Feed it bytes; it gives back the decoded ones, and ``done`` with what is left over."""

    __slots__ = ("_end_of_chunk", "_frame", "_left", "_line", "_size", "_trailers", "done")

    def __init__(self) -> None:
        self._left = 0
        self._line = b""
        self._size, self._frame = 0, b""  # of the last chunk, and what is between it and another one like it
        self._end_of_chunk = False  # the CRLF behind a chunk's data is still to come
        self._trailers = -1  # bytes of trailers seen, -1 before the last chunk
        self.done = False

    def feed(self, data: bytes) -> tuple[list[memoryview], bytes]:
        """Returns the decoded pieces, which are parts of ``data``, and the rest, which is empty until ``done``. Raises
        :class:`BadRequest`."""
        pieces: list[memoryview] = []
        data, self._line = self._line + data, b""
        view, at = memoryview(data), 0
        while at < len(data) and not self.done:
            if self._left:
                piece = view[at : at + self._left]
                pieces.append(piece)
                at, self._left = at + len(piece), self._left - len(piece)
                self._end_of_chunk = not self._left
                at = self._alike(data, at, pieces)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._line = data[at:]
                if len(self._line) > MAX_LINE:
                    raise BadRequest(400, "a chunk of the request's body has a size line that does not end")
                return pieces, b""
            self._take(data[at:end])
            at = end + 2
        return pieces, data[at:]

    def _alike(self, data: bytes, at: int, pieces: list[memoryview]) -> int:
        """Most clients send a long body in chunks of one size: those that are here, all at once. Returns where they
        end."""
        view, frame, size = memoryview(data), self._frame, self._size
        last = len(data) - len(frame) - size
        while at <= last and data.startswith(frame, at):
            at += len(frame)
            pieces.append(view[at : at + size])
            at += size
        return at

    def _take(self, line: bytes) -> None:
        if self._end_of_chunk:
            if line:
                raise BadRequest(400, "a chunk of the request's body is longer than its size says")
            self._end_of_chunk = False
        elif self._trailers >= 0:
            self._trailers += len(line)
            if self._trailers > MAX_LINE:
                raise BadRequest(431, f"the request's trailers are larger than {MAX_LINE} bytes")
            self.done = not line
        else:
            size = line.partition(b";")[0].strip()
            if not size or len(size) > 15 or not _HEX.issuperset(size):
                raise BadRequest(
                    400, f"a chunk of the request's body has the size {size[:20]!r}, which is not a number"
                )
            self._left = self._size = int(size, 16)
            self._frame = b"\r\n" + line + b"\r\n"
            if not self._left:
                self._trailers = 0
