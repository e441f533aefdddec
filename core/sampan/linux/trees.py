"""Whole directory trees: remove, copy, measure. Iterative, relative to descriptors, at home with hostile depth."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Collection, Iterator

from sampan.linux.files import FileCopier, copy_xattrs
from sampan.linux.paths import NO_LINKS, openat2

_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # a directory that is something else by now
_DEPTH = 64  # descriptors held while removing; deeper directories are moved up first


def remove_tree(directory: int, name: str | bytes) -> None:
    """Remove ``name`` in the directory ``directory`` (``O_PATH`` will do) and all below it. Absent is fine."""
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    top = os.open(name, _READ_DIRECTORY, dir_fd=directory)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=directory)


def _empty(top: int) -> None:
    """Remove everything in ``top``. What lies deeper than we hold descriptors for is hoisted into ``top`` itself
    and taken in the next round, so a tree of any depth goes."""
    fresh = itertools.count()
    while _empty_once(top, fresh):
        pass


def _empty_once(top: int, fresh: Iterator[int]) -> bool:
    hoisted = False
    levels = [(top, "", _clear_files(top))]
    try:
        while levels:
            fd, name, below = levels[-1]
            if not below:
                levels.pop()
                if levels:
                    os.close(fd)
                    os.rmdir(name, dir_fd=levels[-1][0])
            elif len(levels) < _DEPTH:
                child = below.pop()
                child_fd = os.open(child, _READ_DIRECTORY, dir_fd=fd)
                levels.append((child_fd, child, []))
                levels[-1] = (child_fd, child, _clear_files(child_fd))
            else:
                _hoist(fd, below.pop(), top, fresh)
                hoisted = True
    finally:
        for fd, _, _ in levels[1:]:
            os.close(fd)
    return hoisted


def _hoist(parent: int, name: str, top: int, fresh: Iterator[int]) -> None:
    while True:
        place = f".{next(fresh):x}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(place, 0o700, dir_fd=top)
            break
    os.rename(name, place, src_dir_fd=parent, dst_dir_fd=top)


def _clear_files(fd: int) -> list[str]:
    """Unlink everything but directories; returns the directories' names."""
    with os.scandir(fd) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, directory in listed:
        if not directory:
            os.unlink(name, dir_fd=fd)
    return [name for name, directory in listed if directory]


def disk_usage(root: int) -> int:
    """Bytes on disk of everything below ``root`` but the directories themselves; hard links count once.

    Mount points that an engine makes are directories: a container that wrote nothing takes nothing.
    """
    total = 0
    seen: set[int] = set()
    for _, _, _, status in walk(root):
        if stat.S_ISDIR(status.st_mode):
            continue
        if status.st_nlink > 1:
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        total += status.st_blocks * 512
    return total


def walk(root: int, apart: Collection[int] = ()) -> Iterator[tuple[int, bytes, bytes, os.stat_result]]:
    """Everything below ``root`` except itself: (descriptor of its directory, the directory's path relative to the
    root, name, lstat). Directories come before what is in them; what vanishes meanwhile is passed over.

    The descriptor is good until the next step. Directories on the devices ``apart`` are told and not entered.
    """
    pending = [b""]
    while pending:
        path = pending.pop()
        try:
            fd = openat2(root, path, _READ_DIRECTORY, resolve=NO_LINKS)
        except OSError as error:
            if error.errno not in _REPLACED:
                raise
            continue
        try:
            for name in sorted(map(os.fsencode, os.listdir(fd))):  # noqa: PTH208 - a descriptor
                try:
                    status = os.lstat(name, dir_fd=fd)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode) and status.st_dev not in apart:
                    pending.append(path + b"/" + name if path else name)
                yield fd, path, name, status
        finally:
            os.close(fd)


def copy_tree(source: int, target: int) -> None:
    """Make the directory ``target`` (empty) look like ``source`` in everything but change times.

    Both are descriptors; blocks are shared where the file system can; hard links stay hard links.
    """
    TreeCopy(source, target).run()


class TreeCopy:
    """Copies entries of one tree into another, one by one (:meth:`copy`); the attributes of directories come last
    (:meth:`finish`), for filling a directory changes its time."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._copier = FileCopier()
        self._links: dict[int, bytes] = {}
        self._directories: list[tuple[bytes, os.stat_result]] = []

    def run(self) -> None:
        here, path = -1, b"\0"
        try:
            for fd, parent, name, status in walk(self._source):
                if parent != path:
                    if here >= 0:
                        os.close(here)
                    here, path = openat2(self._target, parent, _READ_DIRECTORY, resolve=NO_LINKS), parent
                self.copy(fd, here, parent + b"/" + name if parent else name, name, status)
        finally:
            if here >= 0:
                os.close(here)
        self.finish()

    def copy(self, source: int, target: int, path: bytes, name: bytes, status: os.stat_result) -> None:
        """``name`` in the directory ``source``, with that lstat, into ``target``, where nothing is of that name; a
        directory without what is in it."""
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            self.directory(path, status)
            return
        if status.st_nlink > 1 and (first := self._links.setdefault(status.st_ino, path)) != path:
            os.link(first, name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False)
            return
        if kind == stat.S_IFREG:
            self._copy_file(source, target, name, status)
            return
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        copy_xattrs(b"/proc/self/fd/%d/%s" % (source, name), b"/proc/self/fd/%d/%s" % (target, name))
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _copy_file(self, source: int, target: int, name: bytes, status: os.stat_result) -> None:
        reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        try:
            writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
            try:
                sparse = status.st_blocks * 512 < status.st_size
                self._copier.copy(reading, writing, status.st_size, sparse=sparse)
                _copy_attributes(reading, writing, status)
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def directory(self, path: bytes, status: os.stat_result) -> None:
        """This one is there, and gets its attributes in the end."""
        self._directories.append((path, status))

    def finish(self) -> None:
        """Give all directories their attributes, the deepest first, and the top of the tree."""
        for path, status in [*reversed(self._directories), (b"", os.fstat(self._source))]:
            reading = openat2(self._source, path, _READ_DIRECTORY, resolve=NO_LINKS)
            try:
                writing = openat2(self._target, path, _READ_DIRECTORY, resolve=NO_LINKS)
                try:
                    _copy_attributes(reading, writing, status)
                finally:
                    os.close(writing)
            finally:
                os.close(reading)


def _copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    copy_xattrs(source, target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
