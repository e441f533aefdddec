"""Creating a container: from a request to a record and a writable root, all or nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sampan.containers import links, timestamps
from sampan.containers.bundle import mounts, remapping
from sampan.containers.life import keeping
from sampan.containers.parts import TABLE, Parts
from sampan.containers.registry import Entry
from sampan.containers.requests import checks, config, logconfig
from sampan.containers.snapshots import beginning, forking
from sampan.containers.snapshots.beginning import Origin
from sampan.drivers import StorageDriver
from sampan.drivers.steps import step
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.types import Container, Image
from sampan.undo import Undo

STORAGE_LABEL = "sampan.storage-driver"
"""Chooses a container's storage driver, for clients that have no such flag."""


def create(
    parts: Parts, name: str | None, body: Mapping[str, Any], platform: str, *, shallow: bool
) -> tuple[Container, list[str]]:
    """The new container and Docker's warnings. Raises kinds; then nothing is left behind."""
    asked = config.read(body)
    mounts.follow(asked.mounts, parts.config.data_root)
    if shallow:
        mounts.make_shallow(asked.mounts)
    image = parts.images.get(asked.config.Image)
    checks.check_platform(platform, image, asked.config.Image)
    origin = beginning.origin(parts, asked.config.Labels or {})  # what an image is labelled with is another matter
    config.merge(asked, image.config.get("config") or {})
    with Undo() as undo, parts.images.holding(image):
        ident = _new_id()
        reserved = parts.registry.reserve(name, ident)
        undo.push(parts.registry.release, reserved)
        try:
            with parts.explanations.account(ident, "create"):
                with step("complete what was asked for", "record", reserved):
                    record = _record(parts, ident, reserved, asked, image, origin)
                    parts.drivers.hooks.creating(parts.about(record), record.config["Labels"])
                _make(parts, record, image, origin, undo)
        except NotFound as error:  # clients take "not found" here to mean the image, and go and pull it
            raise Invalid(error.message) from error
        parts.registry.add(record)
    parts.announce(record, "create")
    warnings = asked.warnings + checks.platform_warnings(platform, image)
    return record, warnings + _isolation(parts, record)


def _isolation(parts: Parts, record: Container) -> list[str]:
    """What everybody takes for granted and this runtime does not do is not found out by accident."""
    if parts.runtime(record).features().isolation != "filesystem":
        return []
    shared = "its processes, network, users and limits are this host's"
    return [f"The runtime {record.runtime} isolates the file system of a container and nothing else: {shared}"]


def _new_id() -> str:
    """64 hex characters; the short form must not look like a number."""
    while True:
        ident = secrets.token_hex(32)
        if not ident[:12].isdigit():
            return ident


def _record(
    parts: Parts, ident: str, name: str, asked: config.Request, image: Image, origin: Origin | None
) -> Container:
    engine = parts.config
    defaults = config.Defaults(runtime=engine.runtime.driver, log_driver=engine.log.driver)
    own, host = config.complete(asked, ident, defaults)
    command = [*(own["Entrypoint"] or ()), *(own["Cmd"] or ())]
    storage = host.get("StorageDriver") or own["Labels"].get(STORAGE_LABEL)
    record = Container(
        id=ident,
        name=name,
        created=timestamps.now(),
        image=image.id,
        image_reference=own["Image"],
        layer="",
        config=own,
        host_config=host,
        path=command[0],
        args=command[1:],
        storage_driver=storage or engine.storage.driver,
        runtime=host["Runtime"],
        endpoints=parts.networks.plan(host, asked.networking, own),
        mounts=asked.mounts,
        log_path=logconfig.path(host["LogConfig"]["Type"], parts.directory(ident), ident),
    )
    if origin is not None:
        beginning.follow(record, origin, asked=storage or "")
    return record


def _make(parts: Parts, record: Container, image: Image, origin: Origin | None, undo: Undo) -> None:
    _check_runtime(parts, record)
    remapping.check(parts, record)
    _check_joins(parts, record)
    links.check(parts, record)
    storage = parts.storage(record)
    limit = record.host_config["StorageOpt"].get("size")
    if limit is not None and not storage.features().quota:
        raise Unsupported(f"the storage driver {record.storage_driver} cannot limit a container's size")
    with step("have the image's layers unpacked", "layer", driver=record.storage_driver) as here:
        record.layer = here.object = parts.images.layer_for(image, record.storage_driver) or ""
    with step("make a writable root on them", "directory", record.id, record.storage_driver):
        if origin is not None:
            beginning.begin(parts, record, origin, undo)
        else:
            forking.make(parts, record, record.root, undo, lasting=not record.host_config["AutoRemove"])
    if parts.ids and not record.layer:
        _give(storage, record.root, parts.ids.root)
    directory = parts.directory(record.id)
    undo.push(_remove_empty, directory)
    directory.mkdir(mode=0o710, parents=True, exist_ok=True)
    with step("make and fill its volumes", "volume") as here:
        keeping.complete(parts, record, undo)
        keeping.fill(parts, record)
        here.object = " ".join(keeping.names(record))
    with parts.volumes.claiming(keeping.names(record)), step("write the record down", "record", TABLE):
        parts.save(record)


def _check_runtime(parts: Parts, record: Container) -> None:
    """One that does not exist, or cannot do what is asked, is refused now."""
    try:
        features = parts.runtime(record).features()
    except NotFound as error:
        raise Invalid(f"unknown or invalid runtime name: {record.runtime}: {error.message}") from None
    if record.host_config["Init"] and not features.init:
        why = features.why.get("init", "it has no such feature")
        raise Unsupported(f"the runtime {record.runtime} has no init process for a container (--init): {why}")


def _check_joins(parts: Parts, record: Container) -> None:
    """A container whose namespace is to be joined must exist now; Docker keeps its id, in case it is renamed."""
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        kind, _, reference = record.host_config[key].partition(":")
        if kind == "container" and reference.removeprefix("/") == record.name:
            raise Invalid(f"cannot join own {key.removesuffix('Mode').lower()}")
        if kind == "container" and reference:
            other = parts.registry.find(reference)
            record.host_config[key] = f"container:{other.record.id}"
        elif kind == "container":
            raise Invalid(f"invalid {key} {record.host_config[key]!r}: invalid container format container:<name|id>")


def _give(storage: StorageDriver, ident: str, owner: tuple[int, int]) -> None:
    """A root without an image below belongs to the container's root. (Others have the owner that the image's has.)"""
    root = storage.mount(ident)
    try:
        os.chown(".", *owner, dir_fd=root)
    finally:
        os.close(root)
        storage.unmount(ident)


def _remove_empty(directory: Any) -> None:
    with suppress(FileNotFoundError):
        directory.rmdir()


def forget(parts: Parts, entry: Entry, *, volumes: bool) -> None:
    """Make the container not exist, nor its snapshots: durable when this returns, unless the next daemon would do it
    anyway. What it left on disk is the cleaner's.

    ``volumes``: those that nobody named go with it.
    """
    going = keeping.names(entry.record, anonymous=True) if volumes else []
    lasting = not entry.record.host_config["AutoRemove"]
    with parts.volumes.disclaiming(going), parts.state.transaction(lasting=lasting):
        parts.state.delete(TABLE, entry.record.id, lasting=lasting)
        parts.snapshots.delete(entry.record.id)
    entry.left = parts.snapshots.drop(entry.record.id)
    drop(parts, entry)


def drop(parts: Parts, entry: Entry) -> None:
    """Make it not exist for this daemon."""
    parts.registry.drop(entry)
    entry.gone = True
    parts.volumes.give_back(keeping.names(entry.record), entry.record.id)
