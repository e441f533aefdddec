"""Writing a tar stream: plain ustar headers, a pax header where one does not suffice, the same bytes every time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from sampan.images.tar_reader import BLOCK, PAX

_HEADER = struct.Struct("100s24s12s12s8sc100s72s16s155s12x")
_MAGIC = b"ustar\00000"
_END = bytes(2 * BLOCK)
_NAME, _PREFIX = 100, 155
_OCTAL_7, _OCTAL_11 = 0o7777777, 0o77777777777


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class TarWriter:
    """Headers by :meth:`header`; the caller writes exactly ``size`` bytes after it and then calls :meth:`pad`."""

    def __init__(self, out: Sink) -> None:
        self._out = out

    def header(
        self,
        name: bytes,
        kind: bytes,
        *,
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        xattrs: Mapping[str, bytes] | None = None,
    ) -> None:
        """``mtime`` in whole seconds; a directory's name ends with a slash."""
        records: dict[str, bytes] = {}
        if xattrs:
            records = {f"SCHILY.xattr.{key}": value for key, value in sorted(xattrs.items())}
        prefix, short = _split(name)
        if short is None:
            records["path"] = name
            prefix, short = b"", name[:_NAME]
        if len(link) > _NAME:
            records["linkpath"] = link
        if size > _OCTAL_11 or uid > _OCTAL_7 or gid > _OCTAL_7:
            for key, value, limit in (("size", size, _OCTAL_11), ("uid", uid, _OCTAL_7), ("gid", gid, _OCTAL_7)):
                if value > limit:
                    records[key] = b"%d" % value
        if not 0 <= mtime <= _OCTAL_11:
            records["mtime"] = b"%d" % mtime
        if records:
            self._pax(name, records)
        self._out.write(
            _block(prefix, short, kind, mode, uid, gid, 0 if "size" in records else size, mtime, link, device)
        )

    def pad(self, size: int) -> None:
        if size % BLOCK:
            self._out.write(bytes(-size % BLOCK))

    def end(self) -> None:
        self._out.write(_END)

    def _pax(self, name: bytes, records: Mapping[str, bytes]) -> None:
        if any(not _is_utf8(records.get(key, b"")) for key in ("path", "linkpath")):
            records = {"hdrcharset": b"BINARY", **records}
        data = b"".join(_record(key.encode("utf-8", "surrogateescape"), value) for key, value in records.items())
        short = b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][: _NAME - 11]
        self._out.write(_block(b"", short, PAX, 0o644, 0, 0, len(data), 0, b"", (0, 0)))
        self._out.write(data)
        self.pad(len(data))


def _block(
    prefix: bytes,
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    block = _HEADER.pack(
        name,
        _owner(mode, uid, gid),
        b"%011o" % size,
        b"%011o" % min(max(mtime, 0), _OCTAL_11),
        b"        ",
        kind,
        link[:_NAME],
        _MAGIC,
        b"%07o\0%07o" % device,
        prefix,
    )
    return b"%b%06o\0 %b" % (block[:148], _sum(block), block[156:])


@lru_cache
def _owner(mode: int, uid: int, gid: int) -> bytes:
    """An archive has few different ones."""
    return b"%07o\0%07o\0%07o" % (mode, min(uid, _OCTAL_7), min(gid, _OCTAL_7))


def _sum(block: bytes) -> int:
    """Of its bytes, which are too many for ``sum`` to be quick. Adler-32's lower half is the sum of them and 1, modulo
    65521 (RFC 1950, section 9), which 512 times 127 do not reach."""
    if block.isascii():
        return (zlib.adler32(block) & 0xFFFF) - 1
    return sum(block)


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """A name as ustar's prefix and name; the name is None if it does not fit."""
    if len(name) <= _NAME:
        return b"", name
    slash = name.find(b"/", len(name) - _NAME - 1, -1)
    if slash < 1 or slash > _PREFIX:
        return b"", None
    return name[:slash], name[slash + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
