"""Just enough of ELF: which interpreter and which libraries a program names. Nothing is executed.

https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html, chapters 4 (header) and 5 (program and dynamic headers).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAGIC = b"\x7fELF"

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3  # p_type
_NEEDED, _STRTAB, _STRSZ, _RPATH, _RUNPATH = 1, 5, 10, 15, 29  # d_tag
_LIMIT = 1 << 20  # bytes of a table; real ones have thousands


class Elf(NamedTuple):
    """What the dynamic loader reads first. ``rpath`` and ``runpath`` are split at the colons, unexpanded."""

    bits: int
    machine: int
    interpreter: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]

    def loads(self, other: Elf) -> bool:
        """Can ``other`` be loaded into the same process?"""
        return (self.bits, self.machine) == (other.bits, other.machine)


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int


def read(path: Path) -> Elf | None:
    """The headers of an ELF file; None if it is none, or broken. ``OSError`` if it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(descriptor)
    except (struct.error, ValueError, OverflowError, StopIteration):
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Elf | None:
    ident = os.pread(descriptor, 64, 0)
    if not ident.startswith(MAGIC) or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return None
    bits, order = 32 * ident[4], "<>"[ident[5] - 1]
    machine = struct.unpack_from(order + "H", ident, 18)[0]
    segments = list(_segments(descriptor, ident, bits, order))
    interpreter = b""
    for segment in segments:
        if segment.kind == _INTERP:
            interpreter = os.pread(descriptor, min(segment.size, 4096), segment.offset).rstrip(b"\0")
    dynamic = list(_dynamic(descriptor, segments, bits, order))
    strings = _strings(descriptor, segments, dict(dynamic))
    needed = tuple(_string(strings, value) for tag, value in dynamic if tag == _NEEDED)
    return Elf(
        bits,
        machine,
        os.fsdecode(interpreter),
        needed,
        _paths(strings, dynamic, _RPATH),
        _paths(strings, dynamic, _RUNPATH),
    )


def _segments(descriptor: int, ident: bytes, bits: int, order: str) -> Iterator[_Segment]:
    wide = bits == 64
    table = struct.unpack_from(order + ("Q" if wide else "I"), ident, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", ident, 54 if wide else 42)
    data = os.pread(descriptor, min(size * count, _LIMIT), table)
    for at in range(0, size * count, size or 1):
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from(order + "IIIII", data, at)
        yield _Segment(kind, offset, address, length)


def _dynamic(descriptor: int, segments: list[_Segment], bits: int, order: str) -> Iterator[tuple[int, int]]:
    entry = struct.Struct(order + ("qQ" if bits == 64 else "iI"))
    for segment in segments:
        if segment.kind == _DYNAMIC:
            data = os.pread(descriptor, min(segment.size, _LIMIT), segment.offset)
            yield from entry.iter_unpack(data[: len(data) // entry.size * entry.size])


def _strings(descriptor: int, segments: list[_Segment], dynamic: dict[int, int]) -> bytes:
    """The string table, which the dynamic section gives as an address in memory."""
    if _STRTAB not in dynamic:
        return b""
    address = dynamic[_STRTAB]
    load = next(s for s in segments if s.kind == _LOAD and s.address <= address < s.address + s.size)
    return os.pread(descriptor, min(dynamic.get(_STRSZ, 0), _LIMIT), load.offset + address - load.address)


def _string(strings: bytes, at: int) -> str:
    return os.fsdecode(strings[at : strings.index(b"\0", at)])


def _paths(strings: bytes, dynamic: list[tuple[int, int]], tag: int) -> tuple[str, ...]:
    found = [_string(strings, value) for each, value in dynamic if each == tag]
    return tuple(path for paths in found for path in paths.split(":") if path)
