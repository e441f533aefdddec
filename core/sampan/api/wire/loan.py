"""A connection's socket in the hands of the thread that reads a long body from it: what arrives need not pass the event
loop first, which has other clients."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator

from sampan.api.wire.chunked import ChunkedReader

PORTION = 256 * 1024  # bytes that are read at once
_BREATH = 0.0001  # seconds; who wakes at the first byte of many wakes again for each of them


def portion(pieces: deque[bytes | memoryview], limit: int) -> bytes:
    """Take at most ``limit`` bytes from the front."""
    parts, left = [], limit
    while pieces and left:
        part = pieces.popleft()
        if len(part) > left:
            view = memoryview(part)
            part, rest = view[:left], view[left:]
            pieces.appendleft(rest)
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class Loan:
    """While there is one, the event loop does not read. ``chunks`` decodes what comes, or else ``left`` bytes are still
    to come."""

    def __init__(self, lender: socket.socket, chunks: ChunkedReader | None, left: int) -> None:
        self._fd = os.dup(lender.fileno())
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self.pieces: deque[bytes | memoryview] = deque()
        """What came and was not read yet."""
        self._chunks = chunks
        self._lock = threading.Lock()
        self._reading = self._closed = False
        self.left = left
        self.rest = b""
        """What came behind the body."""

    def read(self, limit: int, patience: float) -> bytes:
        """At most ``limit`` of the bytes that came; nothing only where nothing is left. Raises ``BadRequest`` for what
        is no body, ``EOFError`` if it was cut off, ``TimeoutError`` after ``patience`` seconds without a byte."""
        if not self.pieces and not self.ended:
            with self._in_use():
                while not self.pieces and not self.ended:
                    self._take(self._receive(patience))
        return portion(self.pieces, limit)

    def close(self) -> bool:
        """It is over. Returns whether somebody is left behind in the middle of it: then nobody knows what would come
        next, and the descriptor is closed when he has noticed."""
        with self._lock:
            self._closed = True
            if not self._reading:
                os.close(self._fd)
                return False
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as twin:
                twin.shutdown(socket.SHUT_RD)  # whoever waits for a byte waits no longer
            return True

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise EOFError
            self._reading = True
        try:
            yield
        finally:
            with self._lock:
                self._reading = False
                if self._closed:
                    os.close(self._fd)

    @property
    def ended(self) -> bool:
        """All of the body has come."""
        return self._chunks.done if self._chunks else not self.left

    def _receive(self, patience: float) -> bytes:
        while True:
            try:
                data = os.read(self._fd, PORTION)
            except BlockingIOError:
                time.sleep(_BREATH)
                if not self._poll.poll(patience * 1000):
                    raise TimeoutError from None
                continue
            except OSError:
                data = b""
            if not data:
                raise EOFError
            return data

    def _take(self, data: bytes) -> None:
        if self._chunks:
            pieces, self.rest = self._chunks.feed(data)
            self.pieces += pieces
            return
        self.pieces.append(memoryview(data)[: self.left])
        self.rest = data[self.left :]
        self.left -= len(data) - len(self.rest)
