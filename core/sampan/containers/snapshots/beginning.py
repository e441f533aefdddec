"""New containers that begin with the files of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sampan.containers.parts import Parts
from sampan.containers.snapshots import forking
from sampan.errors import Invalid, NotFound
from sampan.types import Container, Endpoint, Snapshot
from sampan.undo import Undo

LABEL = "sampan.snapshot"
"""``CONTAINER@NAME``: a new container begins with these files. For clients that have no such flag."""


class Origin(msgspec.Struct, frozen=True):
    """A snapshot, and whose it is."""

    owner: Container
    snapshot: Snapshot


def origin(parts: Parts, labels: Mapping[str, str]) -> Origin | None:
    """What the request for a new container says by its label. ``Invalid`` if there is no such snapshot."""
    text = labels.get(LABEL)
    if text is None:
        return None
    reference, at, name = text.rpartition("@")
    if not at or not name:
        raise Invalid(f"the label {LABEL} must be CONTAINER@SNAPSHOT, not {text!r}")
    try:
        owner = parts.registry.find(reference).record
        return Origin(owner, parts.snapshots.get(owner.id, name))
    except NotFound as error:  # which clients would take to mean the image
        raise Invalid(error.message) from error


def follow(record: Container, found: Origin, *, asked: str) -> None:
    """It must stand on the same layers as the other one, in the same driver; ``asked``: which one it wants."""
    owner, name = found.owner, found.snapshot.name
    if record.image != owner.image:
        told = f"snapshot {name} of container {owner.name} is of another image"
        raise Invalid(f"{told}, {owner.image_reference}: name that one")
    if asked and asked != owner.storage_driver:
        raise Invalid(f"snapshot {name} of container {owner.name} is in the storage driver {owner.storage_driver}")
    record.storage_driver = owner.storage_driver


def begin(parts: Parts, record: Container, found: Origin, undo: Undo) -> None:
    """Make the new container's root."""
    with parts.snapshots.alone(found.owner.id):
        snapshot = parts.snapshots.get(found.owner.id, found.snapshot.name)
        forking.fork(parts, record, snapshot, record.root, undo, lasting=not record.host_config["AutoRemove"])


def like(record: Container, snapshot: Snapshot) -> dict[str, Any]:
    """The body of a create request for a container that is as ``record`` was asked for, with a snapshot's files.

    What can be one container's only is the new one's own: name, host name, MAC and fixed addresses.
    """
    config = {**record.config, "Image": record.image}
    config["Labels"] = {**record.config["Labels"], LABEL: f"{record.id}@{snapshot.name}"}
    if record.id.startswith(config.get("Hostname") or "-"):
        config["Hostname"] = ""
    config.pop("MacAddress", None)
    endpoints = {name: _wish(endpoint) for name, endpoint in record.endpoints.items()}
    return {**config, "HostConfig": record.host_config, "NetworkingConfig": {"EndpointsConfig": endpoints}}


def _wish(endpoint: Endpoint) -> dict[str, Any]:
    wish = {
        "Aliases": endpoint.aliases,
        "DriverOpts": endpoint.driver_options,
        "Links": endpoint.links,
        "GwPriority": endpoint.gw_priority,
    }
    return {key: value for key, value in wish.items() if value}
