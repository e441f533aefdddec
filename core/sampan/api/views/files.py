"""Files of containers as the Engine API shows them."""

from __future__ import annotations

import base64
import stat
from typing import Any

import msgspec

from sampan.api.times import rfc3339
from sampan.containers.files.archive import PathStat
from sampan.drivers.types import Change, ChangeKind

_KINDS = {kind: number for number, kind in enumerate(ChangeKind)}

_LATEST = 253_402_300_799 * 1_000_000_000  # the end of the year 9999
# The bits of Go's os.FileMode, which clients decode (https://pkg.go.dev/io/fs#FileMode).
_DIRECTORY, _SYMLINK, _DEVICE, _PIPE, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_SETUID, _SETGID, _CHARACTER, _STICKY, _IRREGULAR = 1 << 23, 1 << 22, 1 << 21, 1 << 20, 1 << 19
_TYPES = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFLNK: _SYMLINK,
    stat.S_IFBLK: _DEVICE,
    stat.S_IFCHR: _DEVICE | _CHARACTER,
    stat.S_IFIFO: _PIPE,
    stat.S_IFSOCK: _SOCKET,
}


def mode(bits: int) -> int:
    """stat(2)'s mode as Go's."""
    shown = stat.S_IMODE(bits) & 0o777 | _TYPES.get(stat.S_IFMT(bits), _IRREGULAR)
    shown |= _SETUID if bits & stat.S_ISUID else 0
    shown |= _SETGID if bits & stat.S_ISGID else 0
    return shown | (_STICKY if bits & stat.S_ISVTX else 0)


def path_stat(status: PathStat) -> str:
    """The header ``X-Docker-Container-Path-Stat``."""
    shown = {
        "name": _text(status.name),
        "size": status.size,
        "mode": mode(status.mode),
        "mtime": rfc3339(min(max(status.mtime, 0), _LATEST)),
        "linkTarget": _text(status.link),
    }
    return base64.b64encode(msgspec.json.encode(shown)).decode("ascii")


def changes(found: list[Change]) -> list[dict[str, Any]] | None:
    return [{"Path": _text(change.path), "Kind": _KINDS[change.kind]} for change in found] or None


def _text(name: str) -> str:
    """A name that is not UTF-8 as Go writes it into JSON."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
