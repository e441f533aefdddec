"""A writable root like another one: what the other one's container changed is copied onto the same layers.

This goes through the storage contract alone, so it works with every driver. Under overlayfs it costs what was changed,
not what the image is large.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sampan.containers.parts import Parts
from sampan.containers.requests import checks
from sampan.drivers import StorageDriver
from sampan.linux.files import sync_filesystem
from sampan.linux.grafts import graft
from sampan.types import Container, Snapshot
from sampan.undo import Undo


def make(parts: Parts, record: Container, root: str, undo: Undo, *, lasting: bool = True) -> None:
    """A root of that name on the container's layers, with its limit of size. ``lasting``: it must survive the loss of
    power."""
    size = record.host_config["StorageOpt"].get("size")
    storage = parts.storage(record)
    undo.push(storage.remove, root)
    storage.create(root, record.layer or None, ephemeral=not lasting, size=None if size is None else checks.size(size))


def copy(storage: StorageDriver, name: str, seen: int, root: str, *, lasting: bool = True) -> None:
    """Make the new ``root`` like the one called ``name``, which is ``seen`` at this descriptor."""
    paths = changed(storage, name)
    with mounted(storage, root) as target:
        graft(seen, target, paths)
        if lasting:
            _sync(target)


def fork(parts: Parts, record: Container, snapshot: Snapshot, root: str, undo: Undo, *, lasting: bool) -> None:
    """Make ``root`` for ``record`` with a snapshot's files. Call it while nobody else works with that snapshot."""
    storage = parts.storage(record)
    make(parts, record, root, undo, lasting=lasting)
    with mounted(storage, snapshot.id) as seen:
        copy(storage, snapshot.id, seen, root, lasting=lasting)


def changed(storage: StorageDriver, root: str) -> list[bytes]:
    """The paths that a root has otherwise than its layers, relative to it."""
    return [os.fsencode(change.path).strip(b"/") for change in storage.changes(root)]


@contextmanager
def mounted(storage: StorageDriver, root: str) -> Iterator[int]:
    fd = storage.mount(root)
    try:
        yield fd
    finally:
        os.close(fd)
        storage.unmount(root)


def _sync(root: int) -> None:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)
