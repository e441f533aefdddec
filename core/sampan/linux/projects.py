"""Project quotas of XFS: a directory and all that is made in it count as one and may be limited (xfs_quota(8)).

Beyond the limit, writes fail with ``ENOSPC``; a directory of a project shows the limit as the size of its file system.
(ext4 has project quotas, too, but its writes fail with ``EDQUOT``.) Needs Linux 5.14 for quotactl_fd(2).
Source: ``linux/dqblk_xfs.h``, ``linux/fs.h``, quotactl(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from pathlib import Path

from sampan.linux.files import filesystem_magic
from sampan.linux.syscalls import syscall

_XFS_MAGIC = 0x58465342
_SYS_QUOTACTL_FD = 443
_PROJECTS = 2  # PRJQUOTA, and FS_PROJ_QUOTA of a record
_SET_LIMITS, _GET, _GET_STATE = (ord("X") << 8 | number for number in (4, 3, 8))
_ENFORCED = 1 << 5  # FS_QUOTA_PDQ_ENFD
_BOTH_LIMITS = 1 << 2 | 1 << 3  # soft and hard, of blocks
_BLOCK = 512  # bytes in which limits are told

_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_ATTRIBUTES = struct.Struct("=5I8x")
_INHERITED = 0x200  # FS_XFLAG_PROJINHERIT

_RECORD = struct.Struct("=bbHI6QiiHH")
_RECORD_SIZE, _STATE_SIZE = 112, 256


def enforced(path: Path) -> bool:
    """Does the file system that ``path`` is on hold projects to their limits?"""
    if filesystem_magic(path) != _XFS_MAGIC:
        return False
    state = bytearray(_STATE_SIZE)
    state[0] = 1  # FS_QSTATV_VERSION1
    try:
        _quotactl(path, _GET_STATE, 0, state)
    except OSError:  # the kernel cannot, or has none mounted
        return False
    return bool(struct.unpack_from("=H", state, 2)[0] & _ENFORCED)


def of(path: Path) -> int:
    """The project of a file or directory, 0 for none."""
    return _attributes(path)[3]


def assign(path: Path, project: int) -> None:
    """All that will be made in a directory, which is empty, belongs to the project."""
    flags, extent, extents, _, clone = _attributes(path)
    fd = _opened(path)
    try:
        fcntl.ioctl(fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERITED, extent, extents, project, clone))
    finally:
        os.close(fd)


def limit(path: Path, project: int, size: int) -> None:
    """Of a project on the file system of ``path``: ``size`` bytes, 0 for no limit."""
    blocks = -(-size // _BLOCK)
    wanted = _RECORD.pack(1, _PROJECTS, _BOTH_LIMITS, project, blocks, blocks, 0, 0, 0, 0, 0, 0, 0, 0)
    _quotactl(path, _SET_LIMITS, project, bytearray(wanted.ljust(_RECORD_SIZE, b"\0")))


def used(path: Path, project: int) -> bool:
    """Has the project a limit, or anything that belongs to it?"""
    record = bytearray(_RECORD_SIZE)
    try:
        _quotactl(path, _GET, project, record)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return any(_RECORD.unpack_from(record)[4:10])


def _attributes(path: Path) -> tuple[int, int, int, int, int]:
    fd = _opened(path)
    try:
        told = bytearray(_ATTRIBUTES.size)
        fcntl.ioctl(fd, _GET_ATTRIBUTES, told)
    finally:
        os.close(fd)
    flags, extent, extents, project, clone = _ATTRIBUTES.unpack(told)
    return flags, extent, extents, project, clone


def _quotactl(path: Path, command: int, project: int, data: bytearray) -> None:
    fd = _opened(path)
    try:
        address = (ctypes.c_char * len(data)).from_buffer(data)
        syscall(_SYS_QUOTACTL_FD, fd, command << 8 | _PROJECTS, project, ctypes.byref(address), what=str(path))
    finally:
        os.close(fd)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
