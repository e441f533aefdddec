"""Where volumes lie on disk, such that a crash at any moment loses nothing and leaves nothing::

volumes/<name>/_data              what containers see
volumes/.removed/<name>.<when>    on its way out: back to its place if its record is still there, else it goes
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from pathlib import Path

from sampan.linux import files, paths, trees
from sampan.linux.idmaps import SAME, IdMap

log = logging.getLogger(__name__)

_DATA = "_data"
_NEW = ".data"
_REMOVED = ".removed"


class Places:
    """The directory of all volumes. ``ids``: whose root a volume belongs to. Thread-safe."""

    def __init__(self, root: Path, ids: IdMap = SAME) -> None:
        self._root = root
        self._ids = ids
        self._removed = root / _REMOVED
        self._sweeping = threading.Lock()

    def home(self, name: str) -> Path:
        return self._root / name

    def data(self, name: str) -> Path:
        return self._root / name / _DATA

    def make(self, name: str) -> None:
        """Idempotent."""
        self._root.mkdir(mode=0o701, parents=True, exist_ok=True)
        home = self.home(name)
        home.mkdir(mode=0o701, exist_ok=True)
        data = self.data(name)
        if not data.exists():
            new = home / _NEW
            new.mkdir(exist_ok=True)
            if self._ids:
                os.chown(new, *self._ids.root)
            new.chmod(0o755)  # whatever the umask
            new.rename(data)
            files.sync_directory(home)
            files.sync_directory(self._root)

    def put_away(self, name: str) -> Path | None:
        """Take it out of its place; where to. :meth:`put_back` or :meth:`sweep` comes next."""
        away = self._removed / f"{name}.{time.time_ns():016x}"
        try:
            self.home(name).rename(away)
        except FileNotFoundError:
            return None
        return away

    def put_back(self, name: str, away: Path | None) -> None:
        if away is not None:
            away.rename(self.home(name))

    def sweep(self) -> None:
        """Remove what was put away."""
        with self._sweeping:
            for name in os.listdir(self._removed) if self._removed.is_dir() else ():  # noqa: PTH208
                fd = os.open(self._removed, paths.DIRECTORY | os.O_CLOEXEC)
                try:
                    trees.remove_tree(fd, name)
                except OSError as error:
                    log.error("what is left of a removed volume could not be removed: %s", error)
                finally:
                    os.close(fd)

    def restore(self, known: Collection[str]) -> list[str]:
        """After a crash: every known volume gets its directory. Names of volumes that nobody knows are returned: with
        a lost database, say, the data is still there."""
        self._root.mkdir(mode=0o701, parents=True, exist_ok=True)
        self._removed.mkdir(mode=0o700, exist_ok=True)
        for away in sorted(self._removed.glob("*"), reverse=True):
            name = away.name.rpartition(".")[0]
            if name in known and not self.home(name).exists():
                self.put_back(name, away)
        for name in known:
            self.make(name)
        found = (path for path in self._root.iterdir() if not path.name.startswith("."))
        return [path.name for path in found if path.name not in known and (path / _DATA).is_dir()]
