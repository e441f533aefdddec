"""Reading a file while somebody else still writes it.

The two are in different processes and share an eventfd(2), whose counter is how many bytes have come since the reader
looked last. Two high bits say that nothing more will come: because that was all, or because it was given up.
"""

from __future__ import annotations

import io
import os
import select
import threading
from collections.abc import Callable

from sampan.errors import Unavailable

_END, _GIVEN_UP = 1 << 62, 1 << 63
_BEAT = 1000  # milliseconds between two signs of life


class Growth:
    """The writer's end. ``fileno()`` is for the reader. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._counter = os.eventfd(0, os.EFD_CLOEXEC)
        self._size = 0
        self._over = False
        self.given_up = False

    def fileno(self) -> int:
        return self._counter

    def grew(self, count: int) -> None:
        """So many bytes more are in the file."""
        self._tell(count)

    def end(self) -> None:
        """That was all. Idempotent."""
        self._tell(_END, over=True)

    def give_up(self) -> None:
        """Whatever was read so far is worth nothing: the reader fails soon, if it has not come to the end."""
        with self._lock:
            if self.given_up or self._counter < 0:
                return
            self.given_up = True
            os.eventfd_write(self._counter, _GIVEN_UP)
            self._lock.notify_all()

    def wait(self, count: int) -> None:
        """Until there are so many bytes, or no more will come."""
        with self._lock:
            self._lock.wait_for(lambda: self._size >= count or self._over or self.given_up)

    def close(self) -> None:
        with self._lock:
            if self._counter >= 0:
                os.close(self._counter)
                self._counter = -1

    def _tell(self, count: int, *, over: bool = False) -> None:
        with self._lock:
            if count and not (self._over or self.given_up) and self._counter >= 0:
                self._over = over
                self._size += 0 if over else count
                os.eventfd_write(self._counter, count)
                self._lock.notify_all()


class Growing(io.RawIOBase):
    """The reader's end: a file that ends where the writer says. ``alive`` is called about once a second while nothing
    comes. Reading raises ``Unavailable`` when the writer has given up."""

    def __init__(self, fd: int, counter: int, alive: Callable[[], object]) -> None:
        self._fd = fd
        self._counter = counter
        self._alive = alive
        self._poll = select.poll()
        self._poll.register(counter, select.POLLIN)
        self._there = 0
        self._at = 0
        self.ended = False
        """All of it is there."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = os.lseek(self._fd, offset, whence)
        return self._at

    def read(self, size: int = -1) -> bytes:
        self._look(0)
        while self._at >= self._there and not self.ended:
            self._look(_BEAT)
        there = self._there - self._at
        data = os.read(self._fd, there if size < 0 else min(size, there))
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _look(self, patience: int) -> None:
        if self.ended:
            return
        if not self._poll.poll(patience):
            if patience:
                self._alive()
            return
        count = os.eventfd_read(self._counter)
        if count & _GIVEN_UP:
            raise Unavailable("it was given up before it was complete")
        if count & _END:
            self.ended = True
        self._there += count & (_END - 1)


class Piped(io.RawIOBase):
    """The reading end of a pipe; ``alive`` is called about once a second while nothing comes."""

    def __init__(self, fd: int, alive: Callable[[], object]) -> None:
        self._fd = fd
        self._alive = alive
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        while not self._poll.poll(_BEAT):
            self._alive()
        return os.read(self._fd, size)
