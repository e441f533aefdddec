"""A limit for a container's root: the file system's own where it has project quotas, a disk of its own elsewhere.

A limited container's directory is a *project* of its own. The directory itself keeps the project's number, so that it
is known for as long as there is something to limit, whatever crashes; numbers are drawn by chance from so many that
other users of the file system, and other engines, have others. Where all that the driver keeps is in somebody's project
already, that one is left alone, and directories could not be moved between projects.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from sampan.linux import projects
from sampan_storage import disks

_FIRST, _COUNT = 1 << 20, (1 << 31) - (1 << 20)  # small numbers are what people give by hand
_ATTEMPTS = 16


def limit(path: Path, size: int) -> None:
    """What will be made in a container's directory, which has nothing in it yet, can take ``size`` bytes at most.

    ``Invalid``: there is no such size. ``Unsupported``: this host can limit nothing.
    """
    disks.check(size)
    number = _free(path) if projects.enforced(path) and not projects.of(path.parent) else 0
    if not number:
        disks.make(path, size)
        return
    projects.assign(path, number)
    projects.limit(path, number, size)


def _free(path: Path) -> int:
    """A number that nobody uses, 0 if chance is against us."""
    for _ in range(_ATTEMPTS):
        number = _FIRST + secrets.randbelow(_COUNT)
        if not projects.used(path, number):
            return number
    return 0


def forget(path: Path) -> None:
    """A container's directory, or what a crash left of it, is about to go: its project's limit goes first."""
    with suppress(OSError):  # it is no directory, or its file system has no projects
        number = projects.of(path)
        if number >= _FIRST and not projects.of(path.parent):
            projects.limit(path, number, 0)
