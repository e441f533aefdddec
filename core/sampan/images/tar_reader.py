"""Reading a tar stream: fast, strict, and with every form that images come in.

Understood are v7, ustar, GNU (long names and links, base-256 numbers, sparse files) and pax (POSIX.1-2008 "pax", its
``SCHILY.xattr.`` keywords, ``hdrcharset``, GNU sparse 0.0, 0.1 and 1.0). Names stay bytes: an archive need not be
UTF-8. Nothing here touches a file system; :mod:`sampan.images.unpack` does.

The standard library's tarfile is five times slower and forgives damage that an engine should not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from os import write
from typing import BinaryIO
from zlib import adler32

from sampan.errors import Invalid
from sampan.images.tar_fields import LARGEST, decimal, nanoseconds, number, parse_pax, shown, until_null
from sampan.images.tar_sparse import Segments, check_segments, old_gnu_segments, pax_segments

BLOCK = 512
CHUNK = 1 << 18  # fits the processor's second cache; larger was slower
_REMEMBERED = 4096  # forms of a field whose meaning was looked up once
META_LIMIT = 1 << 20  # an extended header beyond this is an attack

FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO, CONTIGUOUS = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
    b"7",
)
OLD_FILE, GNU_SPARSE, GNU_LONG_NAME, GNU_LONG_LINK, GNU_VOLUME = b"\0", b"S", b"L", b"K", b"V"
PAX, PAX_GLOBAL, PAX_SUN = b"x", b"g", b"X"

_FILES = frozenset((FILE, OLD_FILE, CONTIGUOUS, GNU_SPARSE))
_BARE = frozenset((LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))  # no data, whatever their size says
_XATTR = b"SCHILY.xattr."

_HEADER = struct.Struct("100s24s12s12s8sc100s8s64x16s155s12x")
_ENDS = b" \0"
_OCTAL = b"01234567"
_NOTHING: Mapping[bytes, bytes] = {}
_NO_DEVICE = (0, 0)


class NoTar(Invalid):
    """Where a header should be is something else."""


class Entry:
    """One member. ``kind`` is its type flag, with regular files always ``FILE``; ``name`` has no trailing slash.

    ``mtime`` is in nanoseconds since 1970; ``device`` is (major, minor); ``segments`` are the (offset, length) pairs
    of a sparse file's data, ``size`` then being the size of the file and not of the data.
    """

    __slots__ = ("device", "gid", "kind", "link", "mode", "mtime", "name", "segments", "size", "uid", "xattrs")

    kind: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    device: tuple[int, int]
    xattrs: Mapping[bytes, bytes]
    segments: Segments | None


class TarReader:
    """Iterates over the entries of an uncompressed tar stream; raises ``Invalid`` for what is no sound archive.

    The data of the entry at hand is what :meth:`write_to` has not taken yet; the next step passes over the rest.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.read
        self._data = b""
        self._view = memoryview(b"")
        self._at = 0
        self._passed = 0  # bytes of the stream before the piece at hand
        self._left = 0  # bytes of the entry's data that nobody took
        self._padding = 0
        self._last: bytes | None = None  # the entry that errors speak of
        self._owners: dict[bytes, tuple[int, int, int]] = {}
        self._mtime_field, self._mtime = b"", 0
        self._sums: dict[int, bytes] = {}  # how most programs write them

    def __iter__(self) -> TarReader:
        return self

    def __next__(self) -> Entry:
        if skip := self._left + self._padding:
            if self._at + skip <= len(self._data):
                self._at += skip
            else:
                self._skip(skip)
            self._left = self._padding = 0
        long_name = long_link = None
        pax = _NOTHING
        while True:
            block = self._block()
            if block is None:
                raise StopIteration
            fields = _HEADER.unpack(block)
            checksum = fields[4]
            # Adler-32's low half is the sum of the bytes and 1, modulo 65521, fifty times faster than adding them in
            # Python; a header's checksum counts its own eight bytes as spaces.
            total = (adler32(block) & 0xFFFF) - (adler32(checksum) & 0xFFFF) + 8 * 32
            if self._sums.get(total) != checksum:
                self._verify(block, checksum, total)
            kind = fields[5]
            if kind == FILE:
                return self._entry(block, fields, pax, long_name, long_link)
            if kind in (PAX, PAX_SUN):
                pax = self._parse_pax(self._meta(fields[2]))
            elif kind == GNU_LONG_NAME:
                long_name = until_null(self._meta(fields[2]))
            elif kind == GNU_LONG_LINK:
                long_link = until_null(self._meta(fields[2]))
            elif kind in (PAX_GLOBAL, GNU_VOLUME):
                self._meta(fields[2])
            else:
                return self._entry(block, fields, pax, long_name, long_link)

    def write_to(self, fd: int, count: int) -> None:
        """Write the next ``count`` bytes of the entry's data to a file."""
        self._left -= count
        while count:
            at = self._at
            if at >= len(self._data):
                self._refill()
                at = 0
            written = write(fd, self._view[at : at + count])
            self._at = at + written
            count -= written

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next ``count`` bytes of the entry's data; each piece is good until the next is asked for."""
        self._left -= count
        while count:
            if self._at >= len(self._data):
                self._refill()
            part = self._view[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            yield part

    @property
    def offset(self) -> int:
        """Where in the stream the data is that comes next."""
        return self._passed + self._at

    @property
    def begun(self) -> bool:
        """Was there anything that is a tar's?"""
        return self._last is not None

    def drain(self) -> None:
        """Read what follows the end mark, so that whoever hashes the stream sees all of it."""
        while self._read(CHUNK):
            pass

    # ── entries ────────────────────────────────────────────────────────────────────────────────────────────────

    def _entry(
        self,
        block: bytes,
        fields: tuple[bytes, ...],
        pax: Mapping[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        name, owner, size, mtime, _, kind, link, magic, device, prefix = fields
        entry = Entry()
        name = name.partition(b"\0")[0]
        if prefix[0] and magic[:6] == b"ustar\0":
            name = until_null(prefix) + b"/" + name
        entry.name = name if long_name is None else long_name
        entry.link = (until_null(link) if link[0] else b"") if long_link is None else long_link
        self._last = entry.name
        try:
            entry.mode, entry.uid, entry.gid = self._owners.get(owner) or self._owner(owner)
            text = size.rstrip(_ENDS)
            entry.size = int(text, 8) if text.isdigit() else number(size)
            if mtime != self._mtime_field:  # files beside one another were often made together
                text = mtime.rstrip(_ENDS)
                self._mtime = (int(text, 8) if text.isdigit() else number(mtime)) * 1_000_000_000
                self._mtime_field = mtime
            entry.mtime = self._mtime
            entry.device = _NO_DEVICE
            if kind in (CHARACTER, BLOCK_DEVICE):
                entry.device = (number(device[:8]), number(device[8:]))
            entry.xattrs = _NOTHING
            entry.segments = None
            if pax:
                self._last = pax.get(b"path") or entry.name
                _amend(entry, pax)
        except ValueError:
            raise Invalid(f"the archive's entry {self._where} has a number that is none") from None
        entry.kind = kind if kind == FILE else _kind_of(kind, entry)
        if entry.size < 0 or entry.size > LARGEST:
            raise Invalid(f"the archive's entry {self._where} has an impossible size")
        if kind == FILE and not pax:
            self._left = entry.size
            self._padding = -entry.size % BLOCK
        else:
            self._begin_data(entry, block, kind, pax)
        if entry.name.endswith(b"/"):
            entry.name = entry.name.rstrip(b"/") or b"/"
        return entry

    def _owner(self, field: bytes) -> tuple[int, int, int]:
        """Mode, uid and gid, remembered: an archive has few different ones."""
        owner = (number(field[:8]) & 0o7777, number(field[8:16]), number(field[16:]))
        if not (0 <= owner[1] < 0xFFFFFFFF and 0 <= owner[2] < 0xFFFFFFFF):
            raise ValueError
        if len(self._owners) < _REMEMBERED:
            self._owners[field] = owner
        return owner

    def _begin_data(self, entry: Entry, block: bytes, kind: bytes, pax: Mapping[bytes, bytes]) -> None:
        if kind in _BARE:
            entry.size = 0
            return
        self._left = entry.size
        self._padding = -entry.size % BLOCK
        try:
            if kind == GNU_SPARSE:
                entry.segments, entry.size = old_gnu_segments(block, self._sparse_block)
            elif pax and any(key.startswith(b"GNU.sparse.") for key in pax):
                entry.segments, entry.size = pax_segments(pax, entry.size, self._sparse_line_block)
            if entry.segments is not None:
                check_segments(entry.segments, entry.size, self._left)
        except (ValueError, KeyError):
            raise Invalid(f"the archive's entry {self._where} has a damaged map of its holes") from None
        if pax:
            entry.name = pax.get(b"GNU.sparse.name") or entry.name

    def _sparse_block(self) -> bytes:
        """One more block of an old GNU sparse header; not part of the data."""
        block = self._block()
        if block is None:
            raise self._truncated()
        return block

    def _sparse_line_block(self) -> bytes:
        """One block of a sparse 1.0 map, which is part of the data."""
        if self._left < BLOCK:
            raise ValueError
        self._left -= BLOCK
        return self._sparse_block()

    def _parse_pax(self, data: bytes) -> Mapping[bytes, bytes]:
        try:
            return parse_pax(data)
        except ValueError:
            raise Invalid(f"the archive has a damaged extended header after {self._where}") from None

    def _verify(self, block: bytes, field: bytes, total: int) -> None:
        """Once more, in every form that a checksum ever had: some old programs added the bytes as signed numbers."""
        text = field.rstrip(_ENDS)
        if text and not text.strip(_OCTAL) and (total - int(text, 8)) % 65521 == 0:
            if len(self._sums) < _REMEMBERED:
                self._sums[total] = field
            return
        try:
            expected = number(field)
        except ValueError:
            expected = -1
        unsigned = sum(block) - sum(field) + 8 * ord(" ")
        if expected not in (unsigned, unsigned - 256 * sum(byte > 127 for byte in block)):
            raise NoTar(f"this is no tar archive, or it is damaged: bad checksum after {self._where}")

    @property
    def _where(self) -> str:
        return "its first header" if self._last is None else shown(self._last)

    # ── bytes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _block(self) -> bytes | None:
        """The next header; None at the end, which is a block of zeros or, as some programs leave it, just the end."""
        block = self._data[self._at : self._at + BLOCK]
        if len(block) == BLOCK:
            self._at += BLOCK
        else:
            block = self._gather(BLOCK)
            if not block:
                return None
            if len(block) < BLOCK:
                raise self._truncated()
        if block[0] == 0 and not block.strip(b"\0"):
            return None
        return block

    def _meta(self, size_field: bytes) -> bytes:
        """The data of an extended header."""
        try:
            size = number(size_field)
        except ValueError:
            size = -1
        if not 0 <= size <= META_LIMIT:
            raise Invalid(f"the archive has an extended header of impossible size after {self._where}")
        data = self._gather(size)
        self._skip(-size % BLOCK)
        if len(data) < size:
            raise self._truncated()
        return data

    def _gather(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end of the stream."""
        parts = []
        while count:
            if self._at >= len(self._data) and not self._more():
                break
            part = self._data[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count > (here := len(self._data) - self._at):
            count -= here
            self._at = len(self._data)
            self._refill()
        self._at += count

    def _refill(self) -> None:
        if not self._more():
            raise self._truncated()

    def _more(self) -> bool:
        self._passed += len(self._data)
        self._data = self._read(CHUNK)
        self._view = memoryview(self._data)
        self._at = 0
        return bool(self._data)

    def _truncated(self) -> Invalid:
        return Invalid(f"the archive is truncated: it ends in the middle of {self._where}")


def _amend(entry: Entry, pax: Mapping[bytes, bytes]) -> None:
    """An empty value means that the plain header's holds."""
    entry.name = pax.get(b"path") or entry.name
    entry.link = pax.get(b"linkpath") or entry.link
    if b"\0" in entry.name or b"\0" in entry.link:
        raise ValueError
    if value := pax.get(b"size"):
        entry.size = decimal(value)
    if value := pax.get(b"uid"):
        entry.uid = decimal(value, 0xFFFFFFFE)
    if value := pax.get(b"gid"):
        entry.gid = decimal(value, 0xFFFFFFFE)
    if value := pax.get(b"mtime"):
        entry.mtime = nanoseconds(value)
    xattrs = {key[len(_XATTR) :]: value for key, value in pax.items() if key.startswith(_XATTR)}
    if xattrs:
        entry.xattrs = xattrs


def _kind_of(kind: bytes, entry: Entry) -> bytes:
    if kind in _FILES:
        return DIRECTORY if kind == OLD_FILE and entry.name.endswith(b"/") else FILE
    if kind in _BARE:
        return kind
    raise Invalid(f"the archive's entry {shown(entry.name)} is of a type that images cannot have: {kind!r}")
