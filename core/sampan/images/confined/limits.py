"""How much may come out of an archive, and a stream that sees to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from sampan.errors import Exhausted, Invalid

MIB, GIB = 1 << 20, 1 << 30
_STEP = 16 * MIB  # bytes between two looks at the disk
_BEAT = 1.0  # seconds between two signs of life


class Limits(NamedTuple):
    """``size`` and ``entries``: of one layer or archive, unpacked. ``ratio``: how many times its size something
    compressed may grow, which is asked from 1 GiB on. ``reserve``: bytes that stay free on the disk. They are
    ``images.…`` in ``config.yaml``."""

    size: int = 64 * GIB
    entries: int = 2_000_000
    ratio: int = 200
    reserve: int = 256 * MIB

    def check_size(self, size: int) -> None:
        """``Invalid`` if that is too much for one layer."""
        if size > self.size:
            raise Invalid(f"it unpacks to more than {self.size} bytes, the limit that images.layer_size sets")

    def check_entries(self, count: int) -> None:
        if count > self.entries:
            raise Invalid(f"it has more than {self.entries} entries, the limit that images.layer_entries sets")

    def check_ratio(self, packed: int, unpacked: int) -> None:
        if unpacked > GIB and unpacked > packed * self.ratio:
            often = f"more than {self.ratio} times its size, the limit that images.compression_ratio sets"
            raise Invalid(f"it is a bomb: {packed} bytes unpack to {often}")

    def check_room(self, fd: int, more: int = 0) -> None:
        """``Exhausted`` if the file system of ``fd`` would have too little left after ``more`` bytes.

        On a small file system (a test's, a memory card's) a twentieth is reserve enough."""
        room = os.fstatvfs(fd)
        reserve = min(self.reserve, room.f_blocks * room.f_frsize // 20)
        if room.f_bavail * room.f_frsize < reserve + more:
            raise Exhausted(f"no space left on device: {reserve} bytes of it are kept free, as images.reserve says")


DEFAULT = Limits()


class Watched:
    """A stream that is read within limits. ``packed`` tells how many bytes have gone into it so far, ``disk`` is a
    descriptor of where its content goes, ``alive`` is called about once a second."""

    def __init__(
        self,
        stream: BinaryIO,
        limits: Limits,
        packed: Callable[[], int] | None,
        disk: int | None,
        alive: Callable[[], None],
    ) -> None:
        self._read = stream.read
        self._limits = limits
        self._packed = packed
        self._disk = disk
        self._alive = alive
        self._next = 0
        self._beat = time.monotonic() + _BEAT
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._read(size)
        self.size += len(data)
        if self.size >= self._next:
            self._look()
        if (now := time.monotonic()) > self._beat:
            self._beat = now + _BEAT
            self._alive()
        return data

    def _look(self) -> None:
        self._limits.check_size(self.size)
        self._next = min(self.size + _STEP, self._limits.size + 1)
        if self._packed:
            self._limits.check_ratio(self._packed(), self.size)
        if self._disk is not None:
            self._limits.check_room(self._disk, _STEP)
