"""Where containers with a cgroup parent of the user's have their groups, remembered for the next daemon.

Other containers are found by the instance's name. These may be anywhere, so a file per container under the driver's
exec root names its group in every hierarchy, from before the group is made until it is gone. It is lost when groups
are: at a reboot. Groups above it that did not exist are noted too, and removed when nothing is in them any more.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

Home = Mapping[str, str]
"""Where a hierarchy is mounted → the container's group in it."""

_MADE = "made"


class Homes:
    """Thread-safe. ``directory`` is made when there is something to remember."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._homes: dict[str, Home] = {}
        self._made: set[str] = set()
        self._load()

    def get(self, container: str) -> Home | None:
        return self._homes.get(container)

    def known(self) -> set[str]:
        return set(self._homes)

    def keep(self, container: str, home: Home) -> None:
        """When this returns, a later daemon knows it."""
        with self._lock:
            if self._homes.get(container) == home:
                return
            missing = {above for place, group in home.items() for above in _above(place, group)} - self._made
            missing = {path for path in missing if not os.access(path, os.F_OK)}
            if missing:
                self._made |= missing
                self._write(_MADE, sorted(self._made))
            self._homes[container] = home
            self._write(container, home)

    def forget(self, container: str) -> None:
        """Its groups are gone: groups above that were made for them go too, unless another needs them."""
        with self._lock:
            if container not in self._homes:
                return
            del self._homes[container]
            needed = {above for home in self._homes.values() for item in home.items() for above in _above(*item)}
            gone = {path for path in sorted(self._made, reverse=True) if path not in needed and _remove(path)}
            if gone:
                self._made -= gone
                self._write(_MADE, sorted(self._made))
            (self._directory / container).unlink(missing_ok=True)
            if not self._homes and not self._made:
                shutil.rmtree(self._directory, ignore_errors=True)

    def _load(self) -> None:
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            with suppress(ValueError, OSError):  # a write that a crash cut off has made nothing yet
                content = json.loads(path.read_text())
                if path.name == _MADE:
                    self._made = set(content)
                elif len(path.name) == 64:
                    self._homes[path.name] = content
        if not self._homes:  # whoever was to have one died before it was known
            self._made = {path for path in sorted(self._made, reverse=True) if not _remove(path)}
            if not self._made:
                shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self, name: str, content: object) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._directory / f"{name}.new"
        new.write_text(json.dumps(content))
        new.replace(self._directory / name)


def resolve(path: str, places: Iterable[str], own: Mapping[str, str], unified: str | None = None) -> Home:
    """OCI's ``cgroupsPath`` in each hierarchy: from its root if absolute, else from the daemon's own group there.

    ``own`` says where the daemon is, by the hierarchy's place (runtime-spec config-linux.md, "Cgroups Path"). Where
    version 2 has controllers (``unified``), a group with processes in it can have none below that are limited
    (cgroups(7), "no internal processes"), so the containers' groups are beside the daemon's, as runc has them.
    """
    inside = posixpath.normpath("/" + path).lstrip("/")
    if path.startswith("/"):
        return {place: f"{place}/{inside}" for place in places}
    starts = {place: own.get(place, "/") for place in places}
    if unified in starts:
        starts[unified] = posixpath.dirname(starts[unified])
    return {place: f"{place}{start.rstrip('/')}/{inside}" for place, start in starts.items()}


def _above(place: str, group: str) -> list[str]:
    """The groups between the root of a hierarchy and ``group``, without both."""
    found = []
    path = posixpath.dirname(group)
    while len(path) > len(place):
        found.append(path)
        path = posixpath.dirname(path)
    return found


def _remove(path: str) -> bool:
    """Is it gone?"""
    try:
        os.rmdir(path)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
