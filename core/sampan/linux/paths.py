"""Paths that somebody else chose, resolved inside a directory that we chose: openat2(2).

A name from an image, an archive, a container or a client may hold ``..``, begin with ``/`` or lead through symbolic
links that the same somebody planted. Joining strings cannot make such a name safe; the kernel can. Everything here
takes the descriptor of a root directory (``O_PATH`` will do) and never reaches a file outside of it, whoever changes
the tree meanwhile. Every descriptor that is returned is close-on-exec and is the caller's to close.

Needs Linux 5.6. Failures are plain :class:`OSError`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

AS_CHROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
"""Symbolic links are followed as after a chroot(2) into the root; those of ``/proc`` that lead anywhere are not."""

NO_LINKS = AS_CHROOT | RESOLVE_NO_SYMLINKS
"""A symbolic link anywhere in the path is ``ELOOP``."""

DIRECTORY = os.O_PATH | os.O_DIRECTORY
"""Flags for a descriptor that only names a directory; good as ``dir_fd`` and as a root."""

_SYS_OPENAT2 = 437  # the same on every architecture
_ATTEMPTS = 64


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)


def openat2(root: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = AS_CHROOT) -> int:
    """openat2(2), tried again when the kernel says that a rename elsewhere made it unsure (``EAGAIN``)."""
    name = os.fsencode(path) or b"."
    if b"\0" in name:
        raise ValueError("a path holds a null byte")
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_ATTEMPTS):
        fd = _syscall(_SYS_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        error = ctypes.get_errno()
        if error not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(error, os.strerror(error), os.fsdecode(name))


def open_in_root(root: int, path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """open(2) as a process would whose root directory is ``root``: absolute links and ``..`` stay inside."""
    return openat2(root, path, flags, mode, AS_CHROOT)


def open_parent(root: int, path: str | bytes) -> tuple[int, bytes]:
    """The directory (``O_PATH``) in which the last part of ``path`` lies or would lie, and that part.

    The last part is not looked at, so it may be missing or a link. ``..`` or nothing as the last part is ``EINVAL``.
    """
    parent, _, name = os.fsencode(path).rstrip(b"/").rpartition(b"/")
    if name in (b"", b".", b".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), os.fsdecode(path))
    return openat2(root, parent, DIRECTORY), name


def make_directories(root: int, path: str | bytes, mode: int = 0o755, uid: int = 0, gid: int = 0) -> int:
    """Make what is missing of a directory's path, give it owner and mode, and return the directory (``O_PATH``)."""
    here = openat2(root, b".", DIRECTORY)
    walked = b""
    for name in filter(None, os.fsencode(path).split(b"/")):
        walked = walked + b"/" + name if walked else name
        try:
            deeper = openat2(root, walked, DIRECTORY)
        except FileNotFoundError:
            deeper = _make_directory(here, name, mode, uid, gid)
        finally:
            os.close(here)
        here = deeper
    return here


def _make_directory(parent: int, name: bytes, mode: int, uid: int, gid: int) -> int:
    os.mkdir(name, mode, dir_fd=parent)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return os.open(name, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def read_file(root: int, path: str | bytes, limit: int) -> bytes:
    """The content of a regular file below ``root``; ``EFBIG`` beyond ``limit`` bytes, ``EINVAL`` if it is no file.

    Made for files such as ``/etc/passwd`` of a container, which may be a pipe that never answers.
    """
    fd = openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(path))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fsdecode(path))
    return content


def inside(root: int, fd: int) -> bytes:
    """Where ``fd`` lies, as a path relative to ``root`` without links; ``b""`` for the root itself."""
    top, here = os.readlink(b"/proc/self/fd/%d" % root), os.readlink(b"/proc/self/fd/%d" % fd)  # noqa: PTH115
    if here == top:
        return b""
    prefix = top if top.endswith(b"/") else top + b"/"
    if not here.startswith(prefix):
        raise OSError(errno.EXDEV, "not below its root", os.fsdecode(here))
    return here[len(prefix) :]
