"""The body of a request on its way from the socket to a handler, with back-pressure.

The event loop feeds; a handler on the loop takes it whole, or a handler in a worker thread reads it like a file. Is
that long, the thread is lent the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from sampan.api.wire.loan import PORTION, Loan, portion
from sampan.api.wire.request import BadRequest
from sampan.errors import Invalid, Unavailable

HIGH = 1024 * 1024  # bytes waiting for a slow reader before the client is held back
LOW = 256 * 1024  # and before it may go on
CUT_OFF = "the connection was closed before the request's body was complete"
STALLED = 600.0  # seconds without a byte from the client before its request is given up


class Body:
    """Bytes that arrive. ``pause`` and ``resume`` hold the client back, ``wanted`` tells it once that somebody reads
    (``Expect: 100-continue``), ``lend`` gives away the socket, or nothing, and ``returned`` gets it back; all of them
    are called on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pause: Callable[[], None],
        resume: Callable[[], None],
        wanted: Callable[[], None] | None = None,
        lend: Callable[[], Loan | None] = lambda: None,
        returned: Callable[[Loan], None] = lambda loan: None,
    ) -> None:
        self._loop = loop
        self._wanted = wanted
        self._pause = pause
        self._resume = resume
        self._arrived = threading.Condition()
        self._chunks: deque[bytes | memoryview] = deque()
        self._size = 0
        self._ended = False
        self._error = ""
        self._paused = False
        self._whole: asyncio.Future[None] | None = None
        self._limit = 0
        self._unwanted = False
        self._over: asyncio.Future[None] | None = None
        self._room = 0
        self._lend = lend
        self._returned = returned
        self._loan: Loan | None = None
        self._to_lend = HIGH  # bytes until somebody wants it; less than nothing once that was asked for

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def broken(self) -> bool:
        """It did not arrive as it should have."""
        return bool(self._error)

    # on the event loop

    def feed(self, *pieces: bytes | memoryview) -> None:
        """They are kept as they are, so they must not change."""
        size = sum(map(len, pieces))
        if self._unwanted:
            self._room -= size
            if self._room < 0:
                self._settle(self._over)
            return
        with self._arrived:
            self._chunks += pieces
            self._size += size
            self._arrived.notify()
            if self._whole is None and self._size > HIGH and not self._paused:
                self._paused = True
                self._pause()
        if self._whole is not None and self._size > self._limit:
            self.finish(f"the request's body is larger than {self._limit} bytes")

    def finish(self, error: str = "") -> None:
        """The body is complete, or with ``error`` (a sentence) it never will be."""
        with self._arrived:
            if self._ended:
                return
            self._ended = True
            self._error = error
            self._arrived.notify()
        self._take_back()
        self._settle(self._whole)
        self._settle(self._over)

    @staticmethod
    def _settle(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def discard(self) -> None:
        """Nobody will read it: forget what has arrived and let the rest come."""
        self._unwanted = True
        self._to_lend = -1
        self._take_back()
        with self._arrived:
            self._chunks.clear()
            self._size = 0
            self._release()

    async def pass_over(self, most: int, seconds: float) -> None:
        """Nobody will read it: forget what comes until its end, ``most`` bytes or ``seconds``."""
        self.discard()
        if self._ended:
            return
        self._room, self._over = most, self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over, seconds)

    async def whole(self, limit: int) -> bytes:
        """All of it, at most ``limit`` bytes. Raises ``Invalid`` when it is larger or was cut off."""
        self._limit = limit
        if self._wanted:
            self._wanted()
        if not self._ended:
            self._whole = self._loop.create_future()
            self._release()
            try:
                await asyncio.wait_for(self._whole, STALLED)
            except TimeoutError:
                raise Unavailable(f"the request's body did not arrive within {STALLED:.0f} seconds") from None
        if self._error:
            raise Invalid(self._error)
        if self._size > limit:
            raise Invalid(f"the request's body is larger than {limit} bytes")
        return b"".join(self._chunks)

    # in a worker thread

    def file(self) -> io.RawIOBase:
        """It reads as a pipe does: ``read`` gives what is there, up to so many bytes."""
        if self._wanted:
            self._loop.call_soon_threadsafe(self._wanted)
        return _Reader(self)

    def take(self, limit: int = PORTION) -> bytes:
        """At most the next ``limit`` bytes, ``b""`` at the end; waits for the first of them. Raises ``Invalid`` when
        the client left early."""
        with self._arrived:
            self._wait()
            loan = self._loan
            if self._error:
                raise Invalid(self._error)
            if self._chunks or loan is None or self._ended:
                return self._taken(limit)
        return self._read(loan, limit)

    def _wait(self) -> None:
        """Until something is here, or will not come this way any more."""
        while not (self._chunks or self._ended or self._loan):
            if self._to_lend == 0:
                self._to_lend = -1
                self._loop.call_soon_threadsafe(self._borrow)
            if not self._arrived.wait(STALLED):
                raise _stalled()

    def _taken(self, limit: int) -> bytes:
        data = portion(self._chunks, limit)
        self._size -= len(data)
        if self._to_lend > 0:
            self._to_lend = max(self._to_lend - len(data), 0)
        if self._paused and self._size < LOW:
            self._loop.call_soon_threadsafe(self._release)
        return data

    def _read(self, loan: Loan, limit: int) -> bytes:
        data, error = b"", ""
        try:
            data = loan.read(limit, STALLED)
            if not loan.ended:
                return data
        except TimeoutError:
            raise _stalled() from None
        except EOFError:
            error = CUT_OFF
        except BadRequest as bad:
            error = bad.message
        with self._arrived:
            if not self._ended:
                self._chunks += loan.pieces
                self._ended, self._error = True, error
        self._loop.call_soon_threadsafe(self._take_back)
        if self._error:
            raise Invalid(self._error)
        return data

    # the socket, on the event loop

    def _borrow(self) -> None:
        if self._ended or self._unwanted:
            return
        loan = self._lend()
        with self._arrived:
            self._loan = loan
            self._arrived.notify()

    def _take_back(self) -> None:
        with self._arrived:
            loan, self._loan = self._loan, None
        if loan:
            self._returned(loan)
        if self._ended:
            self._settle(self._over)

    def _release(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()


def _stalled() -> Unavailable:
    return Unavailable(f"the client sent nothing for {STALLED:.0f} seconds")


class _Reader(io.RawIOBase):
    """The file side of a body."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self.readall() if size < 0 else self._body.take(size) if size else b""

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
