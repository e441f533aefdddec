"""Filling a new volume with what an image has at its place: the whole of it or nothing.

The copy grows in a directory of another name, is renamed when it is whole and on disk, and then moves in, entry by
entry, for the volume's own directory may be in use already. :func:`finish` does what a crash has left of that.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sampan.linux import files, paths, trees

GROWING = ".sampan-growing"
WHOLE = ".sampan-whole"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def fill(volume: int, beside: int, source: int) -> None:
    """Copy the directory ``source`` with owners, modes and all into ``volume`` if that is empty.

    ``beside`` is a directory on the volume's file system for what is unfinished; the volume itself will do. All are
    descriptors, good for reading; ``source`` may change meanwhile, and links in it are copied, never followed.
    """
    finish(volume, beside)
    if _names(volume):
        return
    if not _names(source):
        trees.copy_tree(source, volume)
        return
    os.mkdir(GROWING, 0o700, dir_fd=beside)
    growing = os.open(GROWING, _DIRECTORY, dir_fd=beside)
    try:
        trees.copy_tree(source, growing)
        files.sync_filesystem(growing)
    except OSError:
        trees.remove_tree(beside, GROWING)
        raise
    finally:
        os.close(growing)
    os.rename(GROWING, WHOLE, src_dir_fd=beside, dst_dir_fd=beside)
    os.fsync(beside)
    _move_in(volume, beside)


def finish(volume: int, beside: int) -> None:
    """A copy that is whole moves in; one that is not goes. Idempotent."""
    with suppress(FileNotFoundError):
        _move_in(volume, beside)
    trees.remove_tree(beside, GROWING)


def _move_in(volume: int, beside: int) -> None:
    whole = os.open(WHOLE, _DIRECTORY, dir_fd=beside)
    try:
        there = set(_names(volume))
        for name in _names(whole):
            if name not in there:  # written there meanwhile: theirs stays
                os.rename(name, name, src_dir_fd=whole, dst_dir_fd=volume)
        status = os.fstat(whole)
        os.fchown(volume, status.st_uid, status.st_gid)
        os.fchmod(volume, status.st_mode & 0o7777)
        files.copy_xattrs(whole, volume)
    finally:
        os.close(whole)
    os.fsync(volume)
    trees.remove_tree(beside, WHOLE)


def _names(directory: int) -> list[str]:
    return [name for name in os.listdir(directory) if name not in (GROWING, WHOLE)]


def open_directory(root: int, path: str) -> int | None:
    """``path`` as a process would find it whose root directory is ``root``, for reading; None if it is not there.

    Raises ``NotADirectoryError``.
    """
    with suppress(FileNotFoundError):
        return paths.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    return None
