"""What was changed in a snapshot: an inode that nobody touched has the number and the change time of the original."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from sampan.drivers.types import Change, ChangeKind
from sampan.errors import Unavailable

_DEEPEST = 400
"""Directories in one another. Nobody needs more, but a container could make a million to see what happens."""


def changes(new: int, old: int | None) -> Iterator[tuple[Change, os.stat_result]]:
    """Below the directories with these descriptors, in no order; with what the entry is now, or was."""
    yield from _compare(os.dup(new), None if old is None else os.dup(old), "")


def _compare(new: int, old: int | None, where: str) -> Iterator[tuple[Change, os.stat_result]]:
    """Closes both. One level deeper is one more pair of descriptors, and no path is ever too long."""
    try:
        if where.count("/") > _DEEPEST:
            raise Unavailable(f"changes in directories deeper than {_DEEPEST} are not looked for: {where[:40]}…")
        now, before = _entries(new), _entries(old)
        for name in now.keys() | before.keys():
            path = f"{where}/{name}"
            if name not in now:
                yield Change(path, ChangeKind.DELETED), before[name]
                continue
            if name not in before:
                yield Change(path, ChangeKind.ADDED), now[name]
            elif _touched(now[name], before[name]):
                yield Change(path, ChangeKind.MODIFIED), now[name]
            if stat.S_ISDIR(now[name].st_mode):
                was_one = name in before and stat.S_ISDIR(before[name].st_mode)
                yield from _compare(_open(new, name), _open(old, name) if was_one else None, path)
    finally:
        os.close(new)
        if old is not None:
            os.close(old)


def _entries(directory: int | None) -> dict[str, os.stat_result]:
    if directory is None:
        return {}
    with os.scandir(directory) as found:
        return {entry.name: entry.stat(follow_symlinks=False) for entry in found}


def _touched(now: os.stat_result, before: os.stat_result) -> bool:
    return (now.st_ino, now.st_ctime_ns) != (before.st_ino, before.st_ctime_ns)


def _open(directory: int | None, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=directory)
