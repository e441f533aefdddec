"""What in a container's root is the engine's own doing: mount points that its image lacked, and two marks."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from contextlib import suppress

from sampan.containers.files import hostfiles
from sampan.drivers.types import Change, ChangeKind
from sampan.linux import paths

DOCKERENV, MTAB = "/.dockerenv", "/etc/mtab"
_FILES = (hostfiles.HOSTS, hostfiles.HOSTNAME, hostfiles.RESOLV)

_OURS = frozenset(
    [
        "/dev",
        "/dev/console",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/proc",
        "/sys",
        *_FILES,
        DOCKERENV,
        MTAB,
    ]
)
"""Where the engine mounts something in every container, and its marks. What is missing of these it makes, as an image
would have."""


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def leave_marks(root: int, owner: tuple[int, int] = (0, 0), *, files: bool = False) -> None:
    """Make what programs look for, as Docker does: ``/.dockerenv``, by which they know that they are in a container,
    and ``/etc/mtab``, where old ones find what is mounted. ``root`` is the container's, ``owner`` (uid, gid) its root
    user. ``files``: and those on which the engine will mount its own. What is there already stays as it is, and nothing
    is made where there is no room."""
    with suppress(OSError):
        _make(root, DOCKERENV.lstrip("/"), owner, 0o755)
    with suppress(OSError):
        directory = paths.make_directories(root, posixpath.dirname(MTAB), 0o755, *owner)
        try:
            with suppress(FileExistsError):
                os.symlink("/proc/mounts", posixpath.basename(MTAB), dir_fd=directory)
                os.chown(posixpath.basename(MTAB), *owner, dir_fd=directory, follow_symlinks=False)
            for name in _FILES if files else ():
                with suppress(FileExistsError):
                    _make(directory, posixpath.basename(name), owner, 0o644)
        finally:
            os.close(directory)


def _make(directory: int, name: str, owner: tuple[int, int], mode: int) -> None:
    fd = os.open(name, _NEW, dir_fd=directory)
    try:
        os.fchown(fd, *owner)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def without_ours(changes: Iterable[Change]) -> list[Change]:
    """Changes without marks and empty mount points of ours, and without directories that changed for these alone."""
    found = list(changes)
    added = {change.path for change in found if change.kind is ChangeKind.ADDED}
    ours = {path for path in _OURS & added if not any(other.startswith(f"{path}/") for other in added - _OURS)}
    above = {posixpath.dirname(path) for path in ours} - {"/"}
    touched = {posixpath.dirname(change.path) for change in found if change.path not in ours}
    return [
        change
        for change in found
        if change.path not in ours
        and not (change.kind is not ChangeKind.DELETED and change.path in above and change.path not in touched)
    ]
