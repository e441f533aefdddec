"""A place to try things out where a driver's data will lie, gone when the trial is over."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def probe_directory(data_root: Path) -> Iterator[Path]:
    """A temporary directory in ``data_root``, or in the nearest directory above it that is there already."""
    parent = data_root
    while not parent.is_dir():
        if parent.parent == parent or os.path.lexists(parent):
            raise NotADirectoryError(20, "not a directory", os.fspath(parent))
        parent = parent.parent
    path = Path(tempfile.mkdtemp(prefix=".sampan-check-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
