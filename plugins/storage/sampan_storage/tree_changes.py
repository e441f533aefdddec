"""What differs between two directory trees, told from names and attributes alone, as Docker does for its vfs driver.

A file counts as changed if its size, time of modification, type, mode, owner, device number, capabilities or the
target of a link differ. Contents are not read: whoever changes them without changing the time is not seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from sampan.drivers.types import Change, ChangeKind
from sampan.linux.paths import NO_LINKS, openat2

_LIST = os.O_RDONLY | os.O_DIRECTORY


def tree_changes(new: int, old: int | None) -> Iterator[Change]:
    """The changes that make ``old`` (None: an empty directory) into ``new`` (descriptors), sorted by path."""
    found: dict[bytes, ChangeKind] = {}
    pending: list[tuple[bytes, bool]] = [(b"", old is not None)]
    while pending:
        path, compared = pending.pop()
        try:
            after = openat2(new, path, _LIST, resolve=NO_LINKS)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the container is running, and it is gone by now
        try:
            before = openat2(old, path, _LIST, resolve=NO_LINKS) if compared and old is not None else None
            try:
                pending += _compare(path, after, before, found)
            finally:
                if before is not None:
                    os.close(before)
        finally:
            os.close(after)
    return iter(sorted(Change("/" + os.fsdecode(path), kind) for path, kind in found.items()))


def _compare(path: bytes, after: int, before: int | None, found: dict[bytes, ChangeKind]) -> list[tuple[bytes, bool]]:
    deeper = []
    new, old = _listed(after), {} if before is None else _listed(before)
    for name in new.keys() | old.keys():
        full = path + b"/" + name if path else name
        now, then = new.get(name), old.get(name)
        if now is None:
            _add(found, full, ChangeKind.DELETED)
        elif then is None or before is None:
            _add(found, full, ChangeKind.ADDED)
        elif _differs(name, after, now, before, then):
            _add(found, full, ChangeKind.MODIFIED)
        if now is not None and stat.S_ISDIR(now.st_mode):
            deeper.append((full, then is not None and stat.S_ISDIR(then.st_mode)))
    return deeper


def _listed(directory: int) -> dict[bytes, os.stat_result]:
    found = {}
    for name in map(os.fsencode, os.listdir(directory)):
        try:
            found[name] = os.lstat(name, dir_fd=directory)
        except FileNotFoundError:
            continue
    return found


def _add(found: dict[bytes, ChangeKind], path: bytes, kind: ChangeKind) -> None:
    """Whoever changed something changed the directories that lead to it."""
    found[path] = kind
    while (path := path.rpartition(b"/")[0]) and path not in found:
        found[path] = ChangeKind.MODIFIED


def _differs(name: bytes, after: int, new: os.stat_result, before: int, old: os.stat_result) -> bool:
    if (new.st_mode, new.st_uid, new.st_gid, new.st_rdev, new.st_mtime_ns) != (
        old.st_mode,
        old.st_uid,
        old.st_gid,
        old.st_rdev,
        old.st_mtime_ns,
    ):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    if new.st_size != old.st_size:
        return True
    if stat.S_ISLNK(new.st_mode):
        return os.readlink(name, dir_fd=after) != os.readlink(name, dir_fd=before)
    return stat.S_ISREG(new.st_mode) and _capabilities(after, name) != _capabilities(before, name)


def _capabilities(directory: int, name: bytes) -> bytes | None:
    try:
        path = b"/proc/self/fd/%d/%s" % (directory, name)
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return None
