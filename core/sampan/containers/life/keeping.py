"""A container and its volumes: taken and filled when it is created, mounted while it runs, given back at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from sampan.containers.bundle import mounts
from sampan.containers.parts import Parts
from sampan.containers.requests import mountwords
from sampan.errors import Invalid
from sampan.types import Container, Mount
from sampan.undo import Undo
from sampan.volumes import filling
from sampan.volumes.request import LOCAL, Request


def complete(parts: Parts, record: Container, undo: Undo) -> None:
    """All mounts of a new container: other containers' (``--volumes-from``), its own, then its image's volumes where
    nothing is yet. Volumes are made and taken. Raises ``Invalid``, ``NotFound``, ``Conflict``."""
    chosen = {mount.target: mount for mount in _of_others(parts, record)}
    chosen |= {mount.target: mount for mount in record.mounts}
    for target in record.config["Volumes"] or ():
        mount = mountwords.anonymous(target, record.host_config["VolumeDriver"])
        chosen.setdefault(mount.target, mount)
    undo.push(lambda: parts.volumes.give_back(names(record), record.id))
    record.mounts = []
    for mount in mounts.ordered(chosen.values()):
        if mount.type == "volume":
            _take(parts, record, mount)
        record.mounts.append(mount)


def _of_others(parts: Parts, record: Container) -> Iterator[Mount]:
    for text in record.host_config["VolumesFrom"] or ():
        reference, mode = mountwords.source_of_others(text)
        other = parts.registry.find(reference).record
        temporary = {mountwords.clean(target) for target in other.host_config["Tmpfs"]}
        for mount in other.mounts:
            if mount.target in temporary:
                continue
            options = {**mount.options, "copy": False}
            read_only = mount.read_only or mode == "ro"
            yield msgspec.structs.replace(mount, mode="", read_only=read_only, options=options)


def _take(parts: Parts, record: Container, mount: Mount) -> None:
    wanted = Request(
        name=mount.name,
        driver=mount.driver or LOCAL,
        options=mount.options.pop("driver_options", {}),
        labels=mount.options.pop("labels", {}),
    )
    volume = parts.volumes.take(wanted, record.id)
    mount.name, mount.driver, mount.source = volume.name, volume.driver, str(parts.volumes.mountpoint(volume.name))


def fill(parts: Parts, record: Container) -> None:
    """Copy what the image has at their places into volumes that are empty. ``Invalid`` if a file is there."""
    wanting = [mount for mount in record.mounts if mount.type == "volume" and mount.options.pop("copy", False)]
    if not wanting:
        return
    storage = parts.storage(record)
    root = storage.mount(record.root)
    try:
        for mount in wanting:
            _fill(parts, record, mount, root)
    finally:
        os.close(root)
        storage.unmount(record.root)


def _fill(parts: Parts, record: Container, mount: Mount, root: int) -> None:
    try:
        source = filling.open_directory(root, mount.target)
    except NotADirectoryError:
        raise Invalid(f"cannot mount volume over existing file, file exists {mount.target}") from None
    if source is None:
        return
    try:
        parts.volumes.fill(mount.name, record.id, source, mount.options.get("subpath", ""))
    finally:
        os.close(source)


def names(record: Container, *, anonymous: bool = False) -> list[str]:
    """Its volumes, or those of them that go with it."""
    return [
        mount.name
        for mount in record.mounts
        if mount.type == "volume" and mount.name and (not anonymous or mount.options.get("anonymous"))
    ]


def mount(parts: Parts, record: Container, undo: Undo) -> None:
    """Its volumes are made ready for a run; :func:`unmount` is the end of that. ``Invalid`` if one cannot be."""
    for each in record.mounts:
        if each.type == "volume":
            undo.push(parts.volumes.unmount, each.name, record.id)
            writable = str(not each.read_only).lower()
            told = {"destination": each.target, "read/write": writable, "propagation": each.propagation}
            parts.volumes.mount(each.name, record.id, told)


def unmount(parts: Parts, record: Container) -> None:
    """A run is over. Idempotent."""
    for name in names(record):
        parts.volumes.unmount(name, record.id)


@contextmanager
def places(parts: Parts, record: Container) -> Iterator[dict[str, Path]]:
    """Where on the host its parts of volumes (``volume-subpath``) are, by target, for as long as a start takes."""
    with ExitStack() as stack:
        yield {
            each.target: stack.enter_context(parts.volumes.hold(each.name, each.options["subpath"]))
            for each in record.mounts
            if each.type == "volume" and each.options.get("subpath")
        }
