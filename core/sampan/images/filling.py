"""Two processes unpack one layer: one reads the archive and makes the files, the other fills many of them.

Whatever depends on the order of entries (names, owners, modes, links, what replaces what) is done by the first. The
second gets descriptors of new, empty files, and where in the blob their content is: it knows no names, so it can do
nothing out of turn. Both are confined alike. Needs a blob that is not compressed.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.errors import Unavailable
from sampan.linux import messages

LARGEST = 1 << 20  # bytes of a file that is handed over; a longer one would have the other wait
BATCH = 32  # files that go at once
AHEAD = 3  # batches that the other may be behind; then the first fills files itself
PATIENCE = 100.0  # seconds in which the other must do a batch
_WINDOW = 1 << 18  # bytes of the blob that are read at once


class Piece(NamedTuple):
    """What is to be in a file: so many bytes from ``offset`` of the blob on. ``time``: nanoseconds; ``name`` is for
    errors."""

    offset: int
    size: int
    time: int
    name: bytes


class FillError(Exception):
    """A file could not be filled: ``error`` is why."""

    def __init__(self, name: bytes, error: OSError) -> None:
        super().__init__(name, error)
        self.name = name
        self.error = error


class Filler:
    """Fills files from the blob ``fd``, which holds all that it is asked for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._window = memoryview(b"")
        self._from = 0

    def fill(self, fds: list[int], pieces: list[Piece]) -> None:
        """Fill and close them. Raises :class:`FillError`; the others are closed then, too."""
        left = list(fds)
        try:
            for fd, piece in zip(fds, pieces, strict=True):
                try:
                    self._fill(fd, piece)
                except OSError as error:
                    raise FillError(piece.name, error) from error
                os.close(left.pop(0))
        finally:
            for fd in left:
                os.close(fd)

    def _fill(self, fd: int, piece: Piece) -> None:
        offset, size, time, _ = piece
        while size:
            at = offset - self._from
            if not 0 <= at < len(self._window):
                self._read(offset)
                at = 0
            written = os.write(fd, self._window[at : at + size])
            offset, size = offset + written, size - written
        os.utime(fd, ns=(time, time))

    def _read(self, offset: int) -> None:
        data = os.pread(self._fd, _WINDOW, offset)
        if not data:
            raise OSError(errno.EIO, "the blob has become shorter")
        self._window, self._from = memoryview(data), offset


def serve(link: Any, filler: Filler) -> None:
    """Be the second: fill what comes over ``link`` until it is closed, and answer every batch. What goes wrong is an
    answer, too, and the end."""
    while True:
        pieces, fds = messages.receive(link)
        if pieces is None:
            return
        try:
            filler.fill(fds, [Piece(*each) for each in pieces])
        except FillError as failure:
            messages.send(link, (failure.name, failure.error.errno, failure.error.strerror))
            return
        messages.send(link, ())


class Hand:
    """The first one's help. ``link`` leads to it; ``filler`` is for what it has no time for. Until ``ready`` it is left
    alone: two cost more than one, and as long as others work for the same layer, no processor is idle."""

    def __init__(self, link: Any, filler: Filler, ready: Callable[[], bool]) -> None:
        self._link = link
        self._filler = filler
        self._fds: list[int] = []
        self._pieces: list[Piece] = []
        self._behind = 0
        self._ready = ready
        self._poll = select.poll()
        self._poll.register(link.fileno(), select.POLLIN)

    def is_free(self) -> bool:
        """Would it take one more file? Raises :class:`FillError` if it failed, ``Unavailable`` if it is gone."""
        if len(self._fds) < BATCH:
            return self._ready()
        while self._behind and self._poll.poll(0):
            self._hear()
        return self._behind < AHEAD

    def take(self, fd: int, piece: Piece) -> None:
        """Fill and close ``fd``, sooner or later: after the caller has read beyond the content of the file."""
        if len(self._fds) >= BATCH:
            self._send()
        self._fds.append(fd)
        self._pieces.append(piece)

    def finish(self) -> None:
        """Everything is read: have everything filled."""
        fds, pieces = self._fds, self._pieces
        self._fds, self._pieces = [], []
        self._filler.fill(fds, pieces)
        while self._behind:
            if not self._poll.poll(PATIENCE * 1000):
                raise Unavailable(f"the process that fills its files stood still for {PATIENCE:g} seconds")
            self._hear()

    def _send(self) -> None:
        fds, pieces = self._fds, self._pieces
        self._fds, self._pieces = [], []
        try:
            messages.send(self._link, [tuple(each) for each in pieces], fds)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # of all processes of this user (unix(7)): nothing of ours
                raise _gone() from None
            self._filler.fill(fds, pieces)
            return
        for fd in fds:
            os.close(fd)
        self._behind += 1

    def _hear(self) -> None:
        try:
            answer, _ = messages.receive(self._link)
        except OSError:
            answer = None
        if answer is None:
            raise _gone()
        if answer:
            name, number, text = answer
            raise FillError(name, OSError(number, text))
        self._behind -= 1


def _gone() -> Unavailable:
    return Unavailable("the process that fills its files died")
