"""Loop devices: a file as a block device (loop(4)).

Every device is attached with ``LO_FLAGS_AUTOCLEAR``: the kernel takes it away with its last user, be it a descriptor or
a mount, whoever dies and however. Needs Linux 5.8 (``LOOP_CONFIGURE``).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path

_CONFIGURE, _GET_STATUS, _GET_FREE = 0x4C0A, 0x4C05, 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
_ATTEMPTS = 64
_CONTROL = "/dev/loop-control"
_BLOCK_MAJOR = 7


class _Info(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_uint64),
        ("inode", ctypes.c_uint64),
        ("rdevice", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("sizelimit", ctypes.c_uint64),
        ("number", ctypes.c_uint32),
        ("encrypt_type", ctypes.c_uint32),
        ("encrypt_key_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("file_name", ctypes.c_char * 64),
        ("crypt_name", ctypes.c_char * 64),
        ("encrypt_key", ctypes.c_char * 32),
        ("init", ctypes.c_uint64 * 2),
    )


class _Config(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("info", _Info),
        ("reserved", ctypes.c_uint64 * 8),
    )


class Loop:
    """An attached device. Closing it lets go of it; a mount of :attr:`path` keeps it."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def available() -> bool:
    """Has this kernel loop devices, and may we use them?"""
    return os.access(_CONTROL, os.R_OK | os.W_OK)


def attach(image: Path) -> Loop:
    """The device of a file: the one that it has already, or a new one.

    One file on two devices would be two file systems that overwrite one another; on one device, two mounts are one
    file system. Two callers at once must not ask for the same file. ``OSError`` if there is no device to be had.
    """
    file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _known(os.fstat(file)) or _fresh(file, os.fsencode(image))
    finally:
        os.close(file)


def _known(status: os.stat_result) -> Loop | None:
    for entry in Path("/sys/block").glob("loop*"):
        if not (entry / "loop").is_dir():
            continue
        path = f"/dev/{entry.name}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            info = _Info()
            fcntl.ioctl(fd, _GET_STATUS, info)
            if info.inode == status.st_ino and info.device == _encoded(status.st_dev):
                return Loop(path, os.dup(fd))
        except OSError:
            continue  # nothing is attached any more
        finally:
            os.close(fd)
    return None


def _encoded(device: int) -> int:
    """A device number as the kernel writes it (include/linux/kdev_t.h)."""
    major, minor = os.major(device), os.minor(device)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def _fresh(file: int, name: bytes) -> Loop:
    config = _Config(fd=file)
    config.info.flags = _AUTOCLEAR
    config.info.file_name = name[-63:]
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            _ensure_node(path)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _CONFIGURE, config)
            except OSError as error:
                os.close(fd)
                if error.errno != errno.EBUSY:  # somebody was faster
                    raise
            else:
                return Loop(path, fd)
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), _CONTROL)


def _ensure_node(path: str) -> None:
    """Where /dev is no devtmpfs, new devices have no nodes."""
    if not os.path.exists(path):  # noqa: PTH110
        number = int(path.removeprefix("/dev/loop"))
        os.mknod(path, 0o600 | 0o060000, os.makedev(_BLOCK_MAJOR, number))
