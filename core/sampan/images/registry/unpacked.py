"""Which layers were unpacked by pulls that are not over, for a daemon that comes after one that was killed.

A file for each in ``unpacked/`` of the content store. It counts as long as the machine has not been started anew: until
an image's record speaks for a layer, nobody has waited for it to be on the disk.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

AGE = 24 * 3600.0  # seconds
_NAME = re.compile(r"[0-9a-f]{64}")


class Unpacked:
    """Thread-safe. Layers are named by their chain ids."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> dict[str, int]:
        """Make the directory and forget what is old. Returns the layers with the bytes of their files."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {}
        for entry in os.scandir(self._root):
            size = _size(Path(entry.path))
            if size is None or not _NAME.fullmatch(entry.name) or time.time() - entry.stat().st_mtime > AGE:
                Path(entry.path).unlink(missing_ok=True)
            else:
                found[entry.name] = size
        return found

    def chains(self) -> list[str]:
        """The layers, in the order in which they were unpacked."""
        found = [(entry.stat().st_mtime_ns, entry.name) for entry in os.scandir(self._root)]
        return [name for _, name in sorted(found)]

    def put(self, chain: str, size: int) -> None:
        (self._root / chain).write_text(f"{_boot()} {size}")

    def forget(self, chains: Collection[str]) -> None:
        """A record speaks for these, or nobody."""
        for chain in chains:
            (self._root / chain).unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    """None if the file is only half there, or of before the machine was started."""
    boot, _, size = path.read_text(errors="replace").partition(" ")
    return int(size) if boot == _boot() and size.isascii() and size.isdigit() else None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
