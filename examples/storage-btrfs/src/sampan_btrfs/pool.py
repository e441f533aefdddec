"""The one file that holds everything: a btrfs file system, mounted where only its users see it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import weakref
from pathlib import Path

from sampan.errors import Unavailable, Unsupported
from sampan.linux import loops, mounts
from sampan.linux.files import sync_filesystem

PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
SHELVES = ("layers", "begun", "containers", "parents")
_PATIENCE = 120.0  # seconds for mkfs
_OPTIONS: dict[str, str | None] = {"user_subvol_rm_allowed": None, "discard": "async"}


def maker() -> str | None:
    return shutil.which("mkfs.btrfs", path=PATH)


class Pool:
    """Made at its first use. The mount is a descriptor: the kernel takes mount and loop device away with the last who
    holds one, be it this process or a container, so that there is nothing to clean up after a crash."""

    def __init__(self, root: Path, gib: int) -> None:
        self._file = root / "pool.btrfs"
        self._size = gib << 30
        self._lock = threading.Lock()
        self._fd = -1

    @property
    def exists(self) -> bool:
        return self._file.exists()

    def path(self, *names: str) -> Path:
        """Of something in it, for this process (and its children) alone."""
        with self._lock:
            if self._fd < 0:
                self._open()
        return Path(f"/proc/self/fd/{self._fd}").joinpath(*names)

    def names(self, shelf: str) -> set[str]:
        return {path.name for path in self.path(shelf).iterdir()}

    def mount(self, subvolume: str = "/") -> int:
        """A new descriptor of a detached mount of a subvolume."""
        with self._lock:
            return self._mount(subvolume)

    def sync(self) -> None:
        fd = os.open(self.path("layers"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_filesystem(fd)
        finally:
            os.close(fd)

    def _open(self) -> None:
        if not self.exists:
            self._make()
        fd = self._mount("/")
        for shelf in SHELVES:
            Path(f"/proc/self/fd/{fd}/{shelf}").mkdir(mode=0o711, exist_ok=True)
        self._fd = fd
        weakref.finalize(self, os.close, fd)

    def _mount(self, subvolume: str) -> int:
        try:
            with loops.attach(self._file) as loop:
                return mounts.filesystem("btrfs", {"source": loop.path, "subvol": subvolume, **_OPTIONS})
        except OSError as error:
            raise Unavailable(f"{self._file} cannot be mounted: {error.strerror}") from error

    def _make(self) -> None:
        """Under another name until it is whole."""
        program = maker()
        if program is None:
            raise Unsupported("there is no mkfs.btrfs here: install btrfs-progs")
        self._file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.truncate(self._size)
        command = [program, "-q", "-f", "-m", "single", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        if done.returncode:
            raise Unavailable(f"mkfs.btrfs made no file system of {unfinished}: {done.stderr.strip()}")
        unfinished.rename(self._file)
