"""A place to try things out where a driver's data will lie, gone when the trial is over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".sampan-check-"


@contextlib.contextmanager
def probe_directory(data_root: Path) -> Iterator[Path]:
    """A temporary directory in ``data_root``, or in the nearest directory above it that is there already.

    Those of trials that somebody killed are removed on the way.
    """
    parent = data_root
    while not parent.is_dir():
        if parent.parent == parent or os.path.lexists(parent):
            raise NotADirectoryError(20, "not a directory", os.fspath(parent))
        parent = parent.parent
    for other in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(other):
            shutil.rmtree(other, ignore_errors=True)
    with contextlib.ExitStack() as held:
        path = _own(parent, held)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _own(parent: Path, held: contextlib.ExitStack) -> Path:
    """A new one, locked until ``held`` is closed. Before it is, somebody may take it for one that was left, and remove
    it: then another is made."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            held.enter_context(_locked(path))
            if path.is_dir():
                return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Whoever tries things out in a directory holds a lock on it (flock(2)); ``BlockingIOError`` if somebody does."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
