"""Copying one file well: shared blocks where the file system can, holes kept, extended attributes carried over."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

_FICLONE = 0x40049409
_BUFFER = 1 << 20
_NOT_HERE = frozenset(
    (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY, errno.EISDIR)
)

_libc = ctypes.CDLL(None, use_errno=True)


class FileCopier:
    """Copies contents with the cheapest means that worked so far: FICLONE, copy_file_range(2), read and write.

    One copier serves one pair of file systems: what failed once is not tried again.
    """

    def __init__(self) -> None:
        self.reflinks = True
        self._ranges = True

    def copy(self, source: int, target: int, size: int, *, sparse: bool) -> None:
        """Fill ``target`` (empty, open for writing) with the ``size`` bytes of ``source``.

        ``sparse``: the source has holes, which become holes again.
        """
        if not size or (self.reflinks and self._clone(source, target)):
            return
        if sparse:
            self._copy_extents(source, target, size)
        else:
            self._copy_range(source, target, 0, size)

    def _clone(self, source: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            self.reflinks = False
        return self.reflinks

    def _copy_extents(self, source: int, target: int, size: int) -> None:
        end = 0
        while end < size:
            try:
                start = os.lseek(source, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # nothing but a hole from here on
            end = min(os.lseek(source, start, os.SEEK_HOLE), size)
            self._copy_range(source, target, start, end - start)
        os.ftruncate(target, size)

    def _copy_range(self, source: int, target: int, offset: int, count: int) -> None:
        end = offset + count
        while self._ranges and offset < end:
            try:
                copied = os.copy_file_range(source, target, end - offset, offset, offset)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                self._ranges = False
                break
            if not copied:
                break  # some file systems say so for files that are not empty
            offset += copied
        while offset < end and (data := os.pread(source, min(_BUFFER, end - offset), offset)):
            write_all(target, data, offset)
            offset += len(data)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """pwrite(2) until everything is written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]


def copy_xattrs(source: str | bytes | int, target: str | bytes | int) -> None:
    """Carry over the extended attributes of one file, never following a link; what the target's file system does
    not know is left out."""
    follow = isinstance(source, int)
    for name in os.listxattr(source, follow_symlinks=follow):
        value = os.getxattr(source, name, follow_symlinks=follow)
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise


def sync_filesystem(fd: int) -> None:
    """syncfs(2): everything that was written to the file system of ``fd`` reaches the disk."""
    if _libc.syncfs(fd):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def sync_directory(path: str | os.PathLike[str]) -> None:
    """fsync(2) a directory, so that what was renamed into it is there after a loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def filesystem_magic(path: str | os.PathLike[str]) -> int:
    """The ``f_type`` of statfs(2); the numbers are those of ``linux/magic.h``."""
    buffer = ctypes.create_string_buffer(256)  # more than any architecture's struct statfs
    if _libc.statfs(os.fsencode(path), buffer):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), os.fspath(path))
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
