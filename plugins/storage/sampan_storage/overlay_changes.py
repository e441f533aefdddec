"""What a container changed, read off the directory that overlayfs wrote its changes to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import starmap

from sampan.drivers.types import Change, ChangeKind
from sampan.linux.paths import NO_LINKS, openat2

OPAQUE = "trusted.overlay.opaque"
_LIST = os.O_RDONLY | os.O_DIRECTORY


def overlay_changes(upper: int, lower: int) -> Iterator[Change]:
    """The changes in the directory ``upper`` against the merged layers ``lower`` (descriptors), sorted by path.

    A directory that the kernel copied up but that is as it was, with nothing changed below, is no change.
    """
    found = _Found()
    pending = [_Pair(b"", merged=True, covered=False)]
    while pending:
        pair = pending.pop()
        try:
            above = openat2(upper, pair.path, _LIST, resolve=NO_LINKS)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the container is running, and it is gone by now
        try:
            below = openat2(lower, pair.path, _LIST, resolve=NO_LINKS) if pair.merged else None
            try:
                pending += _all_new(pair, above, found) if below is None else _compare(pair, above, below, found)
            finally:
                if below is not None:
                    os.close(below)
        finally:
            os.close(above)
    return found.sorted()


class _Pair:
    """A directory of the upper tree. ``merged``: the lower tree has a directory there. ``covered``: of which nothing
    shows, because an opaque directory lies between."""

    __slots__ = ("covered", "merged", "path")

    def __init__(self, path: bytes, *, merged: bool, covered: bool) -> None:
        self.path = path
        self.merged = merged
        self.covered = covered

    def child(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


class _Found:
    def __init__(self) -> None:
        self._changes: dict[bytes, ChangeKind] = {}
        self._unsure: list[bytes] = []  # directories that count only if something below them does
        self._above: set[bytes] = set()  # all parents of changes

    def add(self, path: bytes, kind: ChangeKind) -> None:
        self._changes[path] = kind
        while path and (path := path.rpartition(b"/")[0]) not in self._above:
            self._above.add(path)

    def add_if_touched(self, path: bytes) -> None:
        self._unsure.append(path)

    def sorted(self) -> Iterator[Change]:
        for path in self._unsure:
            if path in self._above:
                self._changes[path] = ChangeKind.MODIFIED
        by_path = sorted(("/" + os.fsdecode(path), kind) for path, kind in self._changes.items())
        return starmap(Change, by_path)


def _all_new(pair: _Pair, above: int, found: _Found) -> list[_Pair]:
    """Where there was no directory before, the kinds of entries suffice, which come with their names."""
    deeper = []
    with os.scandir(above) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            path = pair.child(name)
            if entry.is_dir(follow_symlinks=False):
                deeper.append(_Pair(path, merged=False, covered=pair.covered))
            elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()) and _lstat(name, above) is None:
                continue  # a whiteout, or gone by now
            found.add(path, ChangeKind.ADDED)
    return deeper


def _compare(pair: _Pair, above: int, below: int, found: _Found) -> list[_Pair]:
    covered = pair.covered or _is_opaque(above)
    names = [os.fsencode(name) for name in os.listdir(above)]
    deeper = []
    for name in names:
        try:
            new = os.lstat(name, dir_fd=above)
        except FileNotFoundError:
            continue
        old = _lstat(name, below)
        path = pair.child(name)
        if _is_whiteout(new):
            if old is not None:
                found.add(path, ChangeKind.DELETED)
            continue
        if stat.S_ISDIR(new.st_mode):
            deeper.append(_Pair(path, merged=old is not None and stat.S_ISDIR(old.st_mode), covered=covered))
        if old is None:
            found.add(path, ChangeKind.ADDED)
        elif stat.S_ISDIR(new.st_mode) and _same_directory(new, old):
            found.add_if_touched(path)
        else:
            found.add(path, ChangeKind.MODIFIED)
    if covered:
        for name in set(map(os.fsencode, os.listdir(below))) - set(names):
            if _lstat(name, below) is not None:
                found.add(pair.child(name), ChangeKind.DELETED)
    return deeper


def _lstat(name: bytes, directory: int) -> os.stat_result | None:
    try:
        status = os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    return None if _is_whiteout(status) else status  # a single layer is looked at as it lies


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, OPAQUE) == b"y"
    except OSError:
        return False


def _same_directory(new: os.stat_result, old: os.stat_result) -> bool:
    return (new.st_mode, new.st_uid, new.st_gid, new.st_mtime_ns) == (
        old.st_mode,
        old.st_uid,
        old.st_gid,
        old.st_mtime_ns,
    )
