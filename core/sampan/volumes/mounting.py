"""Volumes in use: their devices are mounted for the first who needs them and unmounted after the last.

A directory inside a volume is found without leaving the volume, whatever links a container has planted there, and
held by a bind mount of our own while a container starts, so that nobody can exchange it meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sampan.errors import Invalid
from sampan.linux import mounts, paths
from sampan.types import Volume
from sampan.volumes import device, filling
from sampan.volumes.places import Places

_INSIDE = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_MAGICLINKS


class Mounting:
    """Thread-safe. A *user* is a container's id, or anything else that is somebody's own."""

    def __init__(self, places: Places, holding: Path) -> None:
        self._places = places
        self._holding = holding
        self._lock = threading.Lock()
        self._users: dict[str, set[str]] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._devices: set[str] = set()  # names of volumes whose devices are mounted

    def restore(self, volumes: Mapping[str, Volume], users: Mapping[str, Collection[str]]) -> None:
        """After a crash: what running containers use stays mounted, all else goes; half-made copies are dealt with."""
        for target in reversed(_mounted_below(self._holding)):
            mounts.detach(target)
        self._holding.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in self._holding.iterdir():
            _drop(place)
        self._users = {name: set(ids) for name, ids in users.items() if ids}
        there = set(_mounted_below(self._places.home("x").parent))
        self._devices = {name for name in volumes if _real(self._places.data(name)) in there}
        for name, volume in volumes.items():
            if not self._users.get(name):
                self._detach(name)
            if not device.present(volume.options):
                self._finish(name)

    def mount(self, volume: Volume, user: str) -> Path:
        """The volume's directory, ready. ``Invalid`` if its device cannot be mounted."""
        with self._lock_of(volume.name):
            data = self._places.data(volume.name)
            users = self._users.setdefault(volume.name, set())
            if device.present(volume.options) and volume.name not in self._devices:
                device.mount(volume.options, data)
                self._devices.add(volume.name)
            users.add(user)
            return data

    def unmount(self, name: str, user: str) -> None:
        """Idempotent."""
        with self._lock_of(name):
            users = self._users.get(name, set())
            users.discard(user)
            if not users:
                self._users.pop(name, None)
                self._detach(name)

    def forget(self, name: str) -> None:
        """The volume goes: nobody uses it."""
        with self._lock_of(name):
            self._users.pop(name, None)
            self._detach(name)
        with self._lock:
            self._locks.pop(name, None)

    def users(self, name: str) -> set[str]:
        return set(self._users.get(name, ()))

    def fill(self, volume: Volume, user: str, source: int, subpath: str = "") -> None:
        """Copy the directory ``source`` into the volume, or into ``subpath`` in it, if that is empty. Where there is no
        such directory, the start will tell."""
        with self._lock_of(volume.name):
            data = self.mount(volume, user)
            try:
                with _opened(data) as fd, _opened(data.parent) as parent:
                    if subpath:
                        _fill_inside(fd, subpath, source)
                    else:
                        filling.fill(fd, fd if device.present(volume.options) else parent, source)
            finally:
                self.unmount(volume.name, user)

    @contextlib.contextmanager
    def hold(self, volume: str, path: str) -> Iterator[Path]:
        """A directory or file inside a volume that is mounted, at a place that stays the same. ``Invalid``."""
        with _opened(self._places.data(volume)) as root:
            try:
                found = paths.openat2(root, path, os.O_PATH, resolve=_INSIDE)
            except OSError as error:
                why = "path concatenation escapes the base directory" if error.errno == errno.EXDEV else error.strerror
                raise Invalid(f"cannot access path {path!r} of volume {volume}: {why}") from None
        try:
            place = self._place(found)
        finally:
            os.close(found)
        try:
            yield place
        finally:
            mounts.detach(place)
            _drop(place)

    def _place(self, found: int) -> Path:
        place = self._holding / os.urandom(8).hex()
        if os.path.isdir(f"/proc/self/fd/{found}"):  # noqa: PTH112 - a descriptor
            place.mkdir()
        else:
            place.touch()
        tree = mounts.bind(found, recursive=True)
        try:
            mounts.set_attributes(tree, propagation=mounts.MS_PRIVATE, recursive=True)
            mounts.attach(tree, place)
        finally:
            os.close(tree)
        return place

    def _detach(self, name: str) -> None:
        if name not in self._devices:
            return
        data = self._places.data(name)
        while _real(data) in _mounted_below(data.parent):
            mounts.detach(data)
        self._devices.discard(name)

    def _finish(self, name: str) -> None:
        data = self._places.data(name)
        with _opened(data) as fd, _opened(data.parent) as parent:
            filling.finish(fd, parent)

    def _lock_of(self, name: str) -> threading.RLock:
        with self._lock:
            return self._locks.setdefault(name, threading.RLock())


def _drop(place: Path) -> None:
    """A mount point of ours. Never more than that: what is mounted there is a user's data."""
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink()


def _fill_inside(volume: int, path: str, source: int) -> None:
    try:
        inside = paths.openat2(volume, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_INSIDE)
    except OSError:
        return
    try:
        filling.fill(inside, inside, source)
    finally:
        os.close(inside)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _real(data: Path) -> str:
    """As mountinfo has it. The last part is not looked at: its device may hang."""
    return os.path.join(os.path.realpath(data.parent), data.name)  # noqa: PTH118


def _mounted_below(directory: Path) -> list[str]:
    """The mount points in a directory, however deep, in the order in which they were mounted (proc(5), mountinfo)."""
    start = f"{os.path.realpath(directory)}/"
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in map(_plain, points) if point.startswith(start)]


def _plain(point: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, letter)
    return point
