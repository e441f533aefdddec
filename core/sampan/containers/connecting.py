"""``network connect`` and ``network disconnect``: the networks of a container that exists.

One that runs is changed at once; of one that does not, only the record is, and its next start does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sampan import bodies
from sampan.containers.files import hostfiles
from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.containers.requests.request import EndpointSettings
from sampan.errors import Conflict, Forbidden, NotFound
from sampan.types import Container, Endpoint, Status

log = logging.getLogger(__name__)


def connect(parts: Parts, entry: Entry, reference: str, settings: Mapping[str, Any]) -> None:
    """``settings`` are the Engine API's ``EndpointSettings``. What cannot be is refused in Docker's words."""
    bodies.read(settings, EndpointSettings, "EndpointConfig")  # their types; what they mean is the network room's
    with entry.lock:
        record = entry.record
        _check(entry)
        network = parts.networks.get(reference)
        runs, name = record.state.status in ALIVE, network.spec.name
        if name in record.endpoints:
            if runs:
                raise Forbidden(f"endpoint with name {record.name} already exists in network {name}")
            return  # as Docker
        endpoint = parts.networks.wish(record, network, settings)
        if runs:
            parts.networks.connect(record, endpoint)
            _tell_files(parts, record, come=endpoint)
        else:
            _keep(parts, record, {**record.endpoints, name: endpoint})


def disconnect(parts: Parts, entry: Entry, reference: str, *, force: bool) -> None:
    """``force``: even from a network that is there no more, or whose driver cannot take the endpoint away."""
    with entry.lock:
        record = entry.record
        _check(entry)
        try:
            name = parts.networks.get(reference).spec.name
        except NotFound:
            if not force:
                raise
            name = reference
        runs = record.state.status in ALIVE
        if name not in record.endpoints:
            raise Conflict(f"container {record.id} is not connected to {'' if runs else 'the '}network {name}")
        if runs:
            gone = record.endpoints[name]
            parts.networks.disconnect(record, name, force=force)
            _tell_files(parts, record, gone=gone)
            return
        parts.networks.check_leaves(name)
        _keep(parts, record, {each: endpoint for each, endpoint in record.endpoints.items() if each != name})
        parts.networks.told_leaving(record, name)


def _check(entry: Entry) -> None:
    ident = entry.record.id
    if entry.gone or entry.record.state.status in (Status.REMOVING, Status.DEAD):
        what = "is marked for removal and cannot be connected or disconnected to the network"
        raise Conflict(f"Container {ident} {what}")


def _tell_files(parts: Parts, record: Container, come: Endpoint | None = None, gone: Endpoint | None = None) -> None:
    """``/etc/hosts`` and ``/etc/resolv.conf``. That they could not be written is no reason to go back."""
    defaults = {"dns": parts.config.network.dns, "dns_search": parts.config.network.dns_search}
    try:
        hostfiles.update(
            record,
            parts.bundle(record.id),
            come=come.spec.addresses if come and come.spec else (),
            gone=gone.spec.addresses if gone and gone.spec else (),
            named=parts.networks.has_names(record),
            defaults=defaults,
        )
    except OSError as error:
        log.warning("the files of container %s do not tell of its networks: %s", record.name, error)


def _keep(parts: Parts, record: Container, endpoints: dict[str, Endpoint]) -> None:
    before, record.endpoints = record.endpoints, endpoints
    try:
        parts.save(record)
    except BaseException:
        record.endpoints = before
        raise
