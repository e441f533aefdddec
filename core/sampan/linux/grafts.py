"""Making one tree like another at some paths, and telling where two trees differ there.

Both trees may belong to somebody hostile: nothing is reached through a symbolic link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sampan.linux.paths import DIRECTORY, NO_LINKS, openat2
from sampan.linux.trees import TreeCopy, remove_tree, walk

_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def graft(source: int, target: int, paths: Iterable[bytes]) -> None:
    """Make the tree ``target`` at ``paths`` what ``source`` is there: gone, or the same in everything but change times.

    Both are descriptors of directories. Of a directory its own attributes are meant, not what is in it; the directories
    that lead to a path, and the top, get theirs as well. What vanishes from ``source`` meanwhile counts as gone.
    """
    copy = TreeCopy(source, target)
    for path in _with_parents(paths):
        parent, _, name = path.rpartition(b"/")
        with _opened(source, parent) as here, _opened(target, parent) as there:
            if there is not None:
                _put(copy, here, there, path, name)
    copy.finish()


def differences(old: int, new: int, paths: Iterable[bytes]) -> Iterator[tuple[bytes, bool, bool]]:
    """Those of ``paths`` where two trees differ, sorted, as (path, was it there, is it there).

    Of a directory that is there on one side only, all that is in it is told if it is new, and nothing if it is gone.
    """
    gone: bytes | None = None
    told: set[bytes] = set()
    for path in sorted(set(paths), key=lambda each: each.split(b"/")):
        if path in told or (gone is not None and path.startswith(gone)):
            continue
        before, after = _status(old, path), _status(new, path)
        if before is None and after is None:
            continue
        if before is not None and after is not None and _same(old, new, path, before, after):
            continue
        yield path, before is not None, after is not None
        if after is None:
            gone = path + b"/"
        elif stat.S_ISDIR(after.st_mode) and (before is None or not stat.S_ISDIR(before.st_mode)):
            for inner in _below(new, path):
                told.add(inner)
                yield inner, False, True


def _with_parents(paths: Iterable[bytes]) -> list[bytes]:
    """Sorted so that a directory comes before what is in it."""
    wanted: set[bytes] = set()
    for path in paths:
        while path and path not in wanted:
            wanted.add(path)
            path = path.rpartition(b"/")[0]
    return sorted(wanted, key=lambda each: each.split(b"/"))


def _put(copy: TreeCopy, here: int | None, there: int, path: bytes, name: bytes) -> None:
    status = None if here is None else _lstat(here, name)
    if here is None or status is None:
        remove_tree(there, name)
        return
    known = _lstat(there, name)
    if stat.S_ISDIR(status.st_mode) and known is not None and stat.S_ISDIR(known.st_mode):
        copy.directory(path, status)
        return
    remove_tree(there, name)
    if not stat.S_ISSOCK(status.st_mode) or known is None:
        copy.copy(here, there, path, name, status)


def _same(old: int, new: int, path: bytes, before: os.stat_result, after: os.stat_result) -> bool:
    """As far as one can tell without reading contents: a file that was written to has another time."""
    kind = stat.S_IFMT(before.st_mode)
    mine = (before.st_mode, before.st_uid, before.st_gid, before.st_rdev)
    if mine != (after.st_mode, after.st_uid, after.st_gid, after.st_rdev):
        return False
    if kind == stat.S_IFDIR:
        return True
    if kind == stat.S_IFLNK:
        return _link(old, path) == _link(new, path)
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _below(root: int, path: bytes) -> list[bytes]:
    with _opened(root, path, _READ) as top:
        if top is None:
            return []
        return sorted(b"/".join(filter(None, (path, inner, name))) for _, inner, name, _ in walk(top))


def _status(root: int, path: bytes) -> os.stat_result | None:
    parent, _, name = path.rpartition(b"/")
    with _opened(root, parent) as directory:
        return None if directory is None else _lstat(directory, name)


def _link(root: int, path: bytes) -> bytes:
    parent, _, name = path.rpartition(b"/")
    with _opened(root, parent) as directory:
        return b"" if directory is None else os.readlink(name, dir_fd=directory)


def _lstat(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None


@contextmanager
def _opened(root: int, path: bytes, flags: int = DIRECTORY) -> Iterator[int | None]:
    """The directory at ``path``; None if there is none."""
    try:
        fd = openat2(root, path, flags, resolve=NO_LINKS)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # the last: a link is there
            raise
        fd = None
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)
