"""Where zstd frames begin and end: whether a stream of them is complete can be told without decompressing it.

RFC 8878, 3.1. What is wrong with a frame is the decompressor's to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

MAGIC = 0xFD2FB528
_SKIPPABLE = b"\x2a\x4d\x18"
_REST = 1 << 62  # bytes: all there may be
_RLE = 1


def is_skippable(head: bytes) -> bool:
    """A frame without data, such as zstd:chunked has, whose magic number has sixteen forms."""
    return head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50


class Frames:
    """A stream that is read through this, and ``complete`` between two frames."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.close = stream.close
        self._skipped = 0  # bytes that say nothing about what follows
        self._head = b""
        self._wanted = 4
        self._next: Callable[[bytes], None] = self._frame
        self._checked = False

    @property
    def complete(self) -> bool:
        return not self._skipped and not self._head and self._next == self._frame

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._follow(data)
        return data

    def _follow(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._skipped:
                step = min(self._skipped, len(data) - at)
                self._skipped -= step
            else:
                step = self._wanted - len(self._head)
                self._head += data[at : at + step]
                if len(self._head) == self._wanted:
                    head, self._head = self._head, b""
                    self._next(head)
            at += step

    def _then(self, what: Callable[[bytes], None], wanted: int) -> None:
        self._next, self._wanted = what, wanted

    def _frame(self, head: bytes) -> None:
        if is_skippable(head):
            self._then(self._length, 4)
        elif int.from_bytes(head, "little") == MAGIC:
            self._then(self._descriptor, 1)
        else:
            self._skipped = _REST

    def _length(self, head: bytes) -> None:
        self._skipped = int.from_bytes(head, "little")
        self._then(self._frame, 4)

    def _descriptor(self, head: bytes) -> None:
        single, self._checked = bool(head[0] & 0x20), bool(head[0] & 0x04)
        self._skipped = (not single) + (0, 1, 2, 4)[head[0] & 3] + (int(single), 2, 4, 8)[head[0] >> 6]
        self._then(self._block, 3)

    def _block(self, head: bytes) -> None:
        value = int.from_bytes(head, "little")
        last, kind, size = value & 1, value >> 1 & 3, value >> 3
        self._skipped = 1 if kind == _RLE else size
        if last:
            self._skipped += 4 * self._checked
            self._then(self._frame, 4)
