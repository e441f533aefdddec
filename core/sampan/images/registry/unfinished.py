"""Where large uploads have got to: files in ``uploads/`` of the content store, so that a new daemon goes on with them.

What is in them is the URL that a registry gave, in which it may keep the state of an upload. They are only written
between pieces, and they are not worth waiting for the disk: one that is lost costs an upload from the beginning.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

AGE = 24 * 3600.0  # seconds; registries forget unfinished uploads, too
LIMIT = 1 << 14  # characters of a URL


class Unfinished:
    """Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> None:
        """Make the directory and remove what is old."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for entry in os.scandir(self._root):
            with suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > AGE:
                    Path(entry.path).unlink()

    def get(self, repository: str, digest: str) -> str:
        """The URL of an upload of that blob to that repository (its URL); nothing if there is none."""
        try:
            found = self._path(repository, digest).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return found if found.startswith(("https://", "http://")) and found.isascii() and found.isprintable() else ""

    def put(self, repository: str, digest: str, location: str) -> None:
        if len(location) > LIMIT:
            return
        self._path(repository, digest).write_text(location)  # half a URL leads nowhere, which costs no more than none

    def remove(self, repository: str, digest: str) -> None:
        self._path(repository, digest).unlink(missing_ok=True)

    def _path(self, repository: str, digest: str) -> Path:
        return self._root / hashlib.sha256(f"{repository} {digest}".encode()).hexdigest()
