"""A limit for a container's root on any file system: a disk of its own, which is a file.

The file is sparse, holds an ext4 file system, and lies with the container's things. While the root is in use it is
attached to a loop device that the kernel takes away with the last mount, so nothing leaks whoever dies. Its mount is
detached: the host's mount table never shows it. When it is full, writes fail with ENOSPC.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sampan.errors import Exhausted, Invalid, Unavailable, Unsupported
from sampan.linux import loops, mounts, views
from sampan.linux.files import sync_filesystem

T = TypeVar("T")

LEAST = 4 << 20
"""Bytes; below, the file system has no room for a container."""
MOST = 1 << 44  # with 4 KiB blocks

_NAME = "disk"
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
_PATIENCE = 120.0  # seconds; making one takes a fraction of a second, whatever its size
_OPTIONS: dict[str, str | None] = {
    "discard": None,  # what the container deletes is given back to the host
    "noinit_itable": None,  # or the kernel would fill the sparse file with zeros little by little
}
# No block is kept back for root, who is the one to be limited, nor room to grow; tables of inodes stay holes.
_MAKE = ("-q", "-F", "-m", "0", "-b", "4096", "-i", "8192", "-O", "^resize_inode")
_MAKE_MORE = ("-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0")
_attaching = threading.Lock()


def check(size: int) -> None:
    """``Invalid``: no container can have this size."""
    if not LEAST <= size <= MOST:
        raise Invalid(f"a container's size can be from {LEAST >> 20} MiB to {MOST >> 40} TiB, not {size} bytes")


def make(path: Path, size: int) -> None:
    """A disk with room for about ``size`` bytes for the container whose directory is ``path``, empty.

    ``Invalid``: there is no such size. ``Unsupported``: this host cannot make one.
    """
    check(size)
    maker = shutil.which("mkfs.ext4", path=_PATH)
    if maker is None:
        raise Unsupported("a container's size cannot be limited here: there is no mkfs.ext4, install e2fsprogs")
    if not loops.available():
        raise Unsupported("a container's size cannot be limited here: there are no loop devices, try modprobe loop")
    image, journal = path / _NAME, 4 if size < 1 << 30 else 64
    fd = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, _with_its_own(size, journal))
    finally:
        os.close(fd)
    _run([maker, *_MAKE, "-J", f"size={journal}", *_MAKE_MORE, os.fspath(image)])


def _with_its_own(size: int, journal: int) -> int:
    """Bytes of a file whose file system leaves ``size`` bytes: its journal (MiB), its tables of inodes (256 bytes in
    8192) and the rest (under one in a hundred) come on top."""
    return size + (journal << 20) + size // 25 + (1 << 20) & ~4095


def present(path: Path) -> bool:
    """Has this container a disk?"""
    return (path / _NAME).exists()


@contextmanager
def inside(path: Path) -> Iterator[Path]:
    """Where the container's files are: its directory, or its disk's root directory, there for this block alone."""
    if not present(path):
        yield path
        return
    fd = _mounted(path)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def placed(path: Path, work: Callable[[Path], T]) -> T:
    """The same for what takes real paths only, mounting above all; ``work`` sees no ``/proc``."""
    if not present(path):
        return work(path)
    fd = _mounted(path)
    try:
        return views.placed(fd, work)
    finally:
        os.close(fd)


def sync(path: Path) -> None:
    """What is on the disk, and the disk itself, survive the loss of power."""
    fd = _mounted(path)
    try:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            sync_filesystem(root)
        finally:
            os.close(root)
    finally:
        os.close(fd)
    with (path / _NAME).open("rb") as image:
        os.fsync(image.fileno())


def _mounted(path: Path) -> int:
    """The disk, detached. All mounts of one disk are one file system, for it is on one device."""
    image = path / _NAME
    try:
        with _attaching:
            loop = loops.attach(image)
        with loop:
            return mounts.filesystem("ext4", {"source": loop.path, **_OPTIONS})
    except OSError as error:
        raise Unavailable(f"the disk of container {path.name[:12]} cannot be mounted: {error.strerror}") from error


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False, env={"PATH": _PATH}
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} did not end within {_PATIENCE:.0f} seconds") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        kind = Exhausted if "No space left" in said else Unavailable
        raise kind(f"{command[0]} could not make a container's disk: {said or f'exit status {done.returncode}'}")
