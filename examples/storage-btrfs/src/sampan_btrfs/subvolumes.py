"""Subvolumes and snapshots by the kernel's own calls (btrfs-ioctl(2); Linux include/uapi/linux/btrfs.h)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.linux.trees import remove_tree

_CREATE, _DESTROY, _SNAPSHOT = 0x5000940E, 0x5000940F, 0x50009417
_PLAIN = struct.Struct("=q4088s")  # descriptor, name
_SNAP = struct.Struct("=qQQ32x4040s")  # descriptor, transaction, flags, name


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def create(path: Path) -> None:
    with opened(path.parent) as parent:
        fcntl.ioctl(parent, _CREATE, bytearray(_PLAIN.pack(0, path.name.encode())))
    path.chmod(0o755)  # whatever the umask


def snapshot(source: Path, target: Path) -> None:
    """A writable copy that shares everything with its source; it is there whole or not at all."""
    with opened(source) as old, opened(target.parent) as parent:
        fcntl.ioctl(parent, _SNAPSHOT, bytearray(_SNAP.pack(old, 0, 0, target.name.encode())))


def remove(path: Path) -> None:
    """Absent is fine. A container can make subvolumes inside of its own: those are taken apart file by file."""
    with opened(path.parent) as parent:
        try:
            fcntl.ioctl(parent, _DESTROY, bytearray(_PLAIN.pack(0, path.name.encode())))
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            remove_tree(parent, path.name)
