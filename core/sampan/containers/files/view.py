"""A container's files as it sees them, for ``cp``, ``export`` and ``commit``: reached from its root's descriptor.

A running container is looked at from inside its mount namespace, with its volumes, binds and temporary file systems.
One that does not run gets its root and its mounts put together in a namespace of ours, where its temporary file
systems, which are gone, leave empty directories.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sampan.containers.files.ours import leave_marks
from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.errors import NotFound, Unavailable
from sampan.linux import mounts, paths, views
from sampan.types import Container, Mount

log = logging.getLogger(__name__)

_SETTLE = 10.0  # seconds for what is left of an earlier run to go away
_MISSING = (FileNotFoundError, NotADirectoryError)


class View:
    """``root`` is the root directory (``O_PATH``); ``apart`` are the devices (``st_dev``) of what the runtime mounts by
    itself, which is no content: ``/proc``, ``/sys``, ``/dev``. Close it, in any thread."""

    def __init__(self, root: int, others: Collection[int] = (), apart: Collection[int] = ()) -> None:
        self.root = root
        self.apart = frozenset(apart)
        self._others = others
        self._after = contextlib.ExitStack()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def then(self, step: Any, *args: Any) -> None:
        """To be done when it is closed."""
        self._after.callback(step, *args)

    def close(self) -> None:
        """Idempotent."""
        if self.root >= 0:
            for fd in (self.root, *self._others):
                os.close(fd)
            self.root = -1
            self._after.close()


class Views:
    """Opens views. While one of a container that does not run is open, its start waits (``Entry.unseen``): before
    Linux 6.15 its root cannot be mounted twice."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def open(self, entry: Entry, *, bare: bool = False) -> View:
        """``bare``: without anything mounted on the root. ``NotFound`` if the container is gone."""
        with entry.lock:
            if entry.gone:
                raise NotFound(f"No such container: {entry.record.id}")
            if entry.record.state.status in ALIVE:
                with contextlib.suppress(ProcessLookupError):
                    return _running(entry.record, bare)
            if not entry.settled.wait(_SETTLE):
                raise Unavailable(f"the last run of container {entry.record.name} is still being cleaned up")
            return self._stopped(entry, bare)

    def _stopped(self, entry: Entry, bare: bool) -> View:
        record = entry.record
        with self._lock:
            self._open[record.id] += 1
            entry.unseen.clear()
        try:
            root = self._parts.storage(record).mount(record.root)
            try:
                if not record.state.started_at:  # what a start makes is there before the first, as with dockerd
                    _as_started(root, record, self._parts.ids_of(record).root)
                view = View(_harmless(root)) if bare else _dressed(self._parts, record, root)
            except BaseException:
                os.close(root)
                raise
        except BaseException:
            self._closed(entry)
            raise
        view.then(self._closed, entry)
        return view

    def _closed(self, entry: Entry) -> None:
        with self._lock:
            self._open[entry.record.id] -= 1
            if self._open[entry.record.id]:
                return
            del self._open[entry.record.id]
            try:
                if entry.record.state.status not in ALIVE:
                    self._parts.storage(entry.record).unmount(entry.record.root)
            finally:
                entry.unseen.set()


def _as_started(root: int, record: Container, owner: tuple[int, int]) -> None:
    leave_marks(root, owner, files=True)
    if directory := record.config["WorkingDir"]:
        with contextlib.suppress(OSError):  # a start will say what is wrong with it
            os.close(paths.make_directories(root, directory, 0o755, *owner))


def _running(record: Container, bare: bool) -> View:
    namespace = views.namespace_of(record.state.pid, record.state.monitor)
    try:
        if bare:
            return View(_harmless(views.bare_root_of(namespace)))
        root = views.root_of(namespace)
    finally:
        os.close(namespace)
    return View(root, apart=_devices_apart(record, root))


def _harmless(root: int) -> int:
    """The mount ``root``, on which no device can be opened any more, if it is one that nobody else stands on."""
    with contextlib.suppress(OSError):
        mounts.set_attributes(root, mounts.MOUNT_ATTR_NODEV)
    return root


def _devices_apart(record: Container, root: int) -> set[int]:
    own = {mount.target for mount in record.mounts}
    found = set()
    for mount in record.spec.get("mounts", ()):
        if mount["type"] != "bind" and mount["destination"] not in own:
            with contextlib.suppress(OSError):
                found.add(_status(root, mount["destination"]).st_dev)
    return found - {os.fstat(root).st_dev}


def _status(root: int, path: str) -> os.stat_result:
    fd = paths.open_in_root(root, path, os.O_PATH)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _dressed(parts: Parts, record: Container, root: int) -> View:
    with contextlib.ExitStack() as stack:
        pieces: list[tuple[int, Mount]] = []
        for mount in record.mounts:
            if mount.source:
                with contextlib.suppress(*_MISSING), _source(parts, record, mount) as source:
                    pieces.append((_piece(source, mount), mount))
                    stack.callback(os.close, pieces[-1][0])

        def dress(here: int) -> None:
            for fd, mount in pieces:
                _put(fd, here, mount.target, parts.ids.root)
            if record.host_config["ReadonlyRootfs"]:
                mounts.set_attributes(here, mounts.MOUNT_ATTR_RDONLY)

        here, namespace = views.dressed(root, dress)
    return View(here, (namespace, root))


@contextlib.contextmanager
def _source(parts: Parts, record: Container, mount: Mount) -> Iterator[Path]:
    """Where on the host it is, ready to be bound inside the block."""
    if mount.type != "volume":
        yield Path(mount.source)
        return
    user = f"{record.id} is looked at"
    told = {"destination": mount.target, "read/write": str(not mount.read_only).lower(), "propagation": ""}
    data = parts.volumes.mount(mount.name, user, told)
    try:
        subpath = mount.options.get("subpath")
        with parts.volumes.hold(mount.name, subpath) if subpath else contextlib.nullcontext(data) as place:
            yield place
    finally:
        parts.volumes.unmount(mount.name, user)


def _piece(source: Path, mount: Mount) -> int:
    recursive = not mount.options.get("non_recursive")
    fd = mounts.bind(source, recursive=recursive)
    try:
        if mount.read_only:
            mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY, recursive=recursive)
        mounts.set_attributes(fd, propagation=mounts.MS_PRIVATE, recursive=True)
    except OSError:
        os.close(fd)
        raise
    return fd


def _put(fd: int, root: int, target: str, owner: tuple[int, int]) -> None:
    """Attach a mount; what is missing of its mount point is made, as it is at a start, for ``owner``."""
    try:
        try:
            place = paths.open_in_root(root, target, os.O_PATH)
        except FileNotFoundError:
            place = _made(root, target, owner, directory=stat.S_ISDIR(os.fstat(fd).st_mode))
        try:
            mounts.attach(fd, place)
        finally:
            os.close(place)
    except OSError as error:
        log.warning("%s is left out of what is seen of a container: %s", target, error.strerror)


def _made(root: int, target: str, owner: tuple[int, int], *, directory: bool) -> int:
    uid, gid = owner
    if directory:
        return paths.make_directories(root, target, uid=uid, gid=gid)
    above, _, name = target.rpartition("/")
    parent = paths.make_directories(root, above, uid=uid, gid=gid)
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)
