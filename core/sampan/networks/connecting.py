"""Live changes: one more network for a container that runs, or one less.

The record decides what is true. Connecting writes it last: what was made before is an orphan until then, of which the
next daemon clears the kernel. Disconnecting writes it first, and the next daemon finishes. Only the default routes in
a sandbox are nobody's to look after then: the record says beforehand when they are about to move
(``Container.rerouting``), and :func:`put_routes_right` is for the daemon that finds it so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sampan.drivers.steps import step
from sampan.drivers.types import EndpointSpec, PortBinding
from sampan.errors import SampanError
from sampan.networks import interfaces
from sampan.networks.joining import Joiner
from sampan.networks.places import Place, WayOut, way_out
from sampan.networks.ports import Wish, pinned
from sampan.types import Container
from sampan.undo import Undo

log = logging.getLogger(__name__)


class Held(NamedTuple):
    """Ports of the host, and whose they are."""

    place: Place
    ports: Sequence[PortBinding]


class Connector:
    """Calls that name the same container come one after another. ``save`` writes a container's record."""

    def __init__(self, joiner: Joiner, save: Callable[[Container], None]) -> None:
        self._joiner = joiner
        self._save = save

    def connect(
        self, undo: Undo, container: Container, places: Sequence[Place], new: Place, sandbox: Path, wishes: list[Wish]
    ) -> None:
        """Join ``new``, beside ``places``. While it is tried, and if it fails, what the container had goes on."""
        everything = (*places, new)
        way = way_out(everything)
        moves = bool(_moving(places, way))
        undo.push(self._save, container)
        if moves:
            _set(undo, container, rerouting=True)
            self._save(container)
        taken = {place.endpoint.spec.interface for place in places if place.endpoint.spec}
        [interface] = interfaces.names([(new.endpoint, new.network)], taken)
        self._joiner.enter(undo, container, new, interface, sandbox, default=new.name in way.through and not moves)
        for place, spec in _moving(everything, way):
            _set(undo, place.endpoint, spec=spec)
            _route(undo, place, spec, sandbox)
        self._move_ports(undo, container, *self._reserve(undo, container, everything, way, wishes))
        _set(undo, container, endpoints={**container.endpoints, new.name: new.endpoint}, rerouting=False)
        self._save(container)

    def disconnect(
        self, container: Container, places: Sequence[Place], gone: Place, sandbox: Path, wishes: list[Wish], force: bool
    ) -> None:
        """Leave ``gone``; ``places`` are the others. If it fails, the container is on all of them as before.

        ``force``: a driver that cannot take the endpoint away does not keep the container from leaving.
        """
        way = way_out(places)
        moving = _moving(places, way)
        with Undo() as undo:
            undo.push(self._save, container)
            for place, spec in moving:
                _set(undo, place.endpoint, spec=spec)
            old, new = self._reserve(undo, container, (*places, gone), way, wishes)
            rest = {place.name: place.endpoint for place in places}
            _set(undo, container, endpoints=rest, rerouting=bool(moving))
            self._save(container)
            for held in old:
                self._joiner.revoke(undo, *held)
            free = self._joiner.exit(undo, gone, sandbox, force=force)
            for place, spec in moving:
                _route(undo, place, spec, sandbox)
            self._move_ports(undo, container, [], new)
        gone.addresses.release(free)
        if moving:
            self._settle(container)

    def put_routes_right(self, container: Container, places: Iterable[Place], sandbox: Path) -> None:
        """After a daemon that died while it moved the way out."""
        known = [(place, place.endpoint.spec) for place in places if place.endpoint.spec]
        for place, spec in sorted(known, key=lambda each: each[1].default_route):
            try:
                place.driver.route(place.network.spec, spec, sandbox)
            except (SampanError, OSError) as error:
                log.warning("container %s has no way by network %s: %s", container.name, place.name, error)
        self._settle(container)

    def _settle(self, container: Container) -> None:
        """That the routes are right need not be written down: a later daemon would find them so."""
        container.rerouting = False
        try:
            self._save(container)
        except SampanError as error:
            log.warning("what container %s is connected to could not be written down: %s", container.name, error)

    def _reserve(
        self, undo: Undo, container: Container, places: Sequence[Place], way: WayOut, wishes: list[Wish]
    ) -> tuple[list[Held], list[Held]]:
        """Whose ports are to be taken back, and who gets which instead, as far as possible the same; on paper only."""
        old = [Held(place, place.endpoint.ports) for place in places if place.endpoint.ports]
        publisher = [place for place in places if place.name == way.publisher]
        if not wishes or [held.place.name for held in old] == [place.name for place in publisher]:
            return [], []
        had: list[PortBinding] = []
        for held in old:
            _set(undo, held.place.endpoint, ports=[])
            had += held.ports
        place = publisher[0] if publisher else None
        given = self._joiner.swap(undo, container, place, had, pinned(wishes, had))
        new = [Held(each, given) for each in publisher]
        for held in new:
            _set(undo, held.place.endpoint, ports=list(held.ports))
        return old, new

    def _move_ports(self, undo: Undo, container: Container, old: Iterable[Held], new: Iterable[Held]) -> None:
        for held in old:
            self._joiner.revoke(undo, *held)
        for held in new:
            self._joiner.program(undo, container, *held)


def _moving(places: Iterable[Place], way: WayOut) -> list[tuple[Place, EndpointSpec]]:
    """The endpoints that are to carry the way out, or no longer, and what they will be; those that lose it first."""
    found = []
    for place in places:
        spec, wanted = place.endpoint.spec, place.name in way.through
        if spec is not None and spec.default_route != wanted:
            found.append((place, msgspec.structs.replace(spec, default_route=wanted)))
    return sorted(found, key=lambda each: each[1].default_route)


def _route(undo: Undo, place: Place, spec: EndpointSpec, sandbox: Path) -> None:
    network = place.network.spec
    before = msgspec.structs.replace(spec, default_route=not spec.default_route)
    undo.push(place.driver.route, network, before, sandbox)
    with step("give or take the way out", "route", spec.interface, network.driver):
        place.driver.route(network, spec, sandbox)


def _set(undo: Undo, record: Any, **fields: Any) -> None:
    before = {name: getattr(record, name) for name in fields}
    undo.push(_put, record, before)
    _put(record, fields)


def _put(record: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(record, name, value)
