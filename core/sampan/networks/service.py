"""The networks of an engine: their records, who is on them, and their life (create, remove, restore)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sampan.config import Config
from sampan.drivers import NetworkDriver
from sampan.drivers.network import Joined
from sampan.drivers.steps import step
from sampan.drivers.types import NetworkFeatures
from sampan.errors import Conflict, Forbidden, Invalid, NotFound, SampanError
from sampan.events import EventBus
from sampan.linux.idmaps import SAME, IdMap
from sampan.networks import configurations, defaults, ferries, options
from sampan.networks.connecting import Connector
from sampan.networks.ferries import Landing
from sampan.networks.joining import Joiner
from sampan.networks.making import Maker
from sampan.networks.naming import Naming
from sampan.networks.places import Place, way_out
from sampan.networks.portmaps import divided, edited
from sampan.networks.ports import Ports
from sampan.networks.records import Records
from sampan.networks.request import PREDEFINED, read
from sampan.networks.sandbox import Sandboxes, Users
from sampan.networks.wishes import CONTAINER, Planner, read_ports
from sampan.plugins import Drivers
from sampan.state import State
from sampan.types import Container, Endpoint, Network
from sampan.undo import Undo

log = logging.getLogger(__name__)

_NO_LANDINGS: Mapping[str, Sequence[Landing]] = MappingProxyType({})
_SHORT = 12  # characters of an id by which Docker shows it


class Networks:
    """Thread-safe, but for calls that name the same container: those come one after another."""

    def __init__(self, config: Config, state: State, events: EventBus, drivers: Drivers, *, ids: IdMap = SAME) -> None:
        self._config = config
        self._events = events
        self._drivers = drivers
        self._lock = threading.RLock()  # creations and removals, one after another
        self._records = Records(state)
        self._maker = Maker(config.network, drivers, self._records)
        self._ports = Ports()
        self._joiner = Joiner(self._ports, lambda network: defaults.publishing(self._config.network, network))
        self._sandboxes = Sandboxes(config.exec_root / "netns", config.exec_root / "userns", ids)
        self._planner = Planner(self._joinable, self._features)
        self._naming = Naming(config.network, self._records, self._features)
        self._connector = Connector(self._joiner, lambda container: self.save(container))
        self.save: Callable[[Container], None] = lambda _container: None
        self.land: Callable[[str, Sequence[Landing]], None] = lambda _container, _landings: None
        self._unmade: dict[str, str] = {}  # default networks by name, and why there is none

    def open(self, running: Sequence[Container], landings: Mapping[str, Sequence[Landing]] = _NO_LANDINGS) -> None:
        """Load the records, make kernel and drivers agree with them and with what runs, make the default networks.

        ``landings`` are those that monitors watch, by their containers' ids; the descriptors are taken over.
        """
        self._records.load()
        self._sandboxes.open({one.id: one.state.pid for one in running if self._own_sandbox(one)})
        joined = [entry for one in running for entry in self._remember(one, landings.get(one.id, ()))]
        self._restore(joined)
        for container in running:
            self._tell_landings(Undo(), container, landings.get(container.id, []))
        self._naming.reopen(running, self._sandboxes.path)
        for container in running:
            if container.rerouting:
                self._connector.put_routes_right(
                    container, self._places(container, lost=True), self._sandboxes.path(container.id)
                )
        for wanted in defaults.networks(self._config.network):
            try:
                self._make_default(wanted)
            except SampanError as error:
                log.warning("the default network %s could not be made: %s", wanted.name, error.message)
                self._unmade[wanted.name] = error.message

    def close(self) -> None:
        """Containers stay connected. If there are none, what networks have in the kernel goes, until the next open."""
        self._naming.close()
        self._joiner.close()
        self._sandboxes.close()
        self._ports.close()
        if self._records.anybody():
            return
        for network in self.list():
            try:
                self._driver(network).remove_network(network.spec)
            except SampanError as error:
                log.warning("network %s could not be taken down: %s", network.spec.name, error.message)

    def get(self, reference: str) -> Network:
        """By id, by name, or by the beginning of an id that only one has."""
        try:
            return self._records.find(reference)
        except NotFound as missing:
            if why := self._unmade.get(reference):
                raise NotFound(f"{missing.message}: it could not be made when the daemon started: {why}") from None
            raise

    def _joinable(self, reference: str) -> Network:
        network = self.get(reference)
        if network.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        return network

    def list(self) -> Sequence[Network]:
        return self._records.all()

    def create(self, body: Mapping[str, Any]) -> Network:
        """Make a network of a NetworkCreateRequest. Nothing is left if it fails."""
        request = read(body)
        with self._lock:
            if self._records.by_name(request.name):
                raise Conflict(f"network with name {request.name} already exists")
            network = self._maker.requested(request)
            self._make(network)
        if warning := self.warning(network):  # not every client passes it on
            log.warning("network %s: %s", network.spec.name, warning)
        return network

    def warning(self, network: Network) -> str:
        """What whoever made it should know, or ``""``."""
        return options.warning(network.spec.driver, network.other_options, self._features(network).options)

    def remove(self, reference: str) -> None:
        """``Forbidden`` for the default networks, and while containers are connected."""
        with self._lock:
            network = self.get(reference)
            spec = network.spec
            if spec.name in PREDEFINED:
                raise Forbidden(f"{spec.name} is a pre-defined network and cannot be removed")
            configurations.check_unused(network, self.list())
            if members := self._records.retire(spec.id):
                named = ", ".join(f'name:"{name}" id:"{ident[:_SHORT]}"' for ident, name in members.items())
                what = f"network {spec.name} id {spec.id} has active endpoints ({named})"
                raise Forbidden(f"error while removing network: {what}")
            try:
                self._joiner.settle(network)
                self._driver(network).remove_network(spec)
                self._records.remove(spec.id)
            except BaseException:
                self._records.keep(spec.id)
                raise
        self._event("destroy", network)

    def used(self, network: Network) -> bool:
        """Is a running container on it? Those that do not run leave a network unused, as with Docker."""
        return bool(self._records.members(network.spec.id))

    def prune(self, wanted: Callable[[Network], bool] = lambda _network: True) -> Sequence[str]:
        """Remove every network that is ``wanted`` and that no running container is on; the names of those removed."""
        removed = []
        for network in self.list():
            spec = network.spec
            if spec.name in PREDEFINED or network.config_only or self.used(network) or not wanted(network):
                continue
            try:
                self.remove(spec.id)
                removed.append(spec.name)
            except SampanError:  # somebody was quicker, or its driver has trouble: the others go all the same
                continue
        return removed

    def plan(
        self, host_config: Mapping[str, Any], networking: Mapping[str, Any] | None, config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The endpoints, by network name, that a new container wants. Nothing is allocated yet."""
        wanted = (networking or {}).get("EndpointsConfig") or {}
        return self._planner.plan(self._mode(host_config), host_config, wanted, config)

    def attach(self, container: Container, users: Users = False) -> Path | None:
        """Give a container that starts its sandbox, addresses, links and ports: all or nothing.

        ``users``: its user namespace, if it has one; a new one is at :meth:`user_namespace` then.
        Fills the ``spec`` and ``ports`` of its endpoints. None if it has no sandbox of its own.
        """
        places = self._places(container)
        wishes = read_ports(container.host_config, container.config)
        with Undo() as undo:
            sandbox = None
            if all(place.driver.features().sandbox == "own" for place in places):
                with step("take a network namespace", "netns", str(self._sandboxes.path(container.id))):
                    sandbox = self._sandboxes.take(container.id, users)
                undo.push(self._sandboxes.remove, container.id)
            for place in places:
                self._records.enter(place.network.spec.id, container.id, container.name)
                undo.push(self._records.leave, place.network.spec.id, container.id)
            self._joiner.join(container, places, sandbox, wishes)
            self._naming.enter(undo, container, sandbox)
        for place in places:
            self._event("connect", place.network, container)
        return sandbox

    def detach(self, container: Container) -> None:
        """Take a container that has ended off its networks. Idempotent; links go in the background."""
        places = self._places(container, lost=True)
        self._naming.leave(container)
        self._joiner.leave(container, places)
        for endpoint in container.endpoints.values():  # those whose network or driver is lost
            self._ports.release(container.id, endpoint.ports)
            endpoint.spec, endpoint.ports = None, []
        self._sandboxes.remove(container.id)
        for place in places:
            if self._records.leave(place.network.spec.id, container.id):
                self._event("disconnect", place.network, container)

    def wish(self, container: Container, network: Network, settings: Mapping[str, Any]) -> Endpoint:
        """The endpoint on one more network that a container is to have; nothing is allocated yet."""
        self._joinable(network.spec.id)
        return self._planner.joining(container, self._mode(container.host_config), network, settings)

    def connect(self, container: Container, endpoint: Endpoint) -> None:
        """Put a running container on one more network, now: all or nothing, and durable."""
        network = self.get(endpoint.network)
        new = Place(endpoint, network, self._driver(network), self._records.addresses(network))
        places = self._places(container, lost=True)
        wishes = read_ports(container.host_config, container.config)
        had = self.landings(container)
        with Undo() as undo:
            self._records.enter(network.spec.id, container.id, container.name)
            undo.push(self._records.leave, network.spec.id, container.id)
            sandbox = self._sandboxes.existing(container.id)
            self._connector.connect(undo, container, places, new, sandbox, wishes)
            self._tell_landings(undo, container, had)
            self._naming.enter(undo, container, sandbox)
        self._event("connect", network, container)

    def disconnect(self, container: Container, name: str, *, force: bool = False) -> None:
        """Take a running container off the network of that name: all or nothing, and durable."""
        self.check_leaves(name)
        places = self._places(container, lost=True)
        gone = next((place for place in places if place.name == name), None)
        others = [place for place in places if place is not gone]
        if gone is None:
            raise NotFound(f"network {name} not found")
        sandbox = self._sandboxes.existing(container.id)
        wishes = read_ports(container.host_config, container.config)
        had = self.landings(container)
        with Undo() as undo:
            undo.push(self._naming.enter, Undo(), container, sandbox)
            self._naming.leave_network(container, gone.network.spec.id)
            self._connector.disconnect(container, others, gone, sandbox, wishes, force)
        self._tell_landings(Undo(), container, had)
        self._naming.enter(Undo(), container, sandbox)  # it may have no way out any more
        self._records.leave(gone.network.spec.id, container.id)
        self._event("disconnect", gone.network, container)

    def ports_of(self, container: Container, add: Mapping[str, Any], remove: Mapping[str, Any]) -> dict[str, Any]:
        """Its ``PortBindings`` with these more and those less (``PortMap``s); nothing is done yet.

        ``NotFound`` if it has none of what is to be removed; ``Invalid`` for what is no port, or for a container whose
        ports are another's."""
        if self._mode(container.host_config).startswith(CONTAINER):
            raise Invalid("conflicting options: port publishing and the container type network mode")
        given = [port for endpoint in container.endpoints.values() for port in endpoint.ports]
        return edited(container.host_config["PortBindings"] or {}, add, remove, given, container.name)

    def republish(
        self, undo: Undo, container: Container, host_config: Mapping[str, Any], remove: Mapping[str, Any]
    ) -> None:
        """Give a running container the ports of ``host_config``, which is to be its own; ``remove`` says which of those
        that were picked for it are not kept. ``Conflict`` if one is taken. The record is the caller's to write."""
        places = self._places(container, lost=True)
        publisher = way_out(places).publisher
        had = self.landings(container)
        for place in places:
            if place.name == publisher or place.endpoint.ports:
                wishes = read_ports(host_config, container.config) if place.name == publisher else []
                kept, gone, fresh = divided(place.endpoint.ports, remove, wishes)
                given = self._joiner.exchange(undo, container, place, gone, fresh)
                undo.push(setattr, place.endpoint, "ports", place.endpoint.ports)
                place.endpoint.ports = [*kept, *given]
        self._tell_landings(undo, container, had)

    def landings(self, container: Container) -> Sequence[Landing]:
        """What the container's monitor is to watch, for :mod:`sampan.networks.ferries`. The descriptors stay ours."""
        return [
            ferries.landing(endpoint.spec, port, fd)
            for endpoint in container.endpoints.values()
            for port in endpoint.ports
            if endpoint.spec and ferries.carried(endpoint.spec, port) and (fd := self._ports.descriptor(port)) >= 0
        ]

    def _tell_landings(self, undo: Undo, container: Container, had: Sequence[Landing]) -> None:
        """The monitor, if there are others now than ``had``. What it cannot be told is not worth the container."""
        now = self.landings(container)
        if list(now) == list(had):
            return
        try:
            self.land(container.id, now)
            undo.push(self.land, container.id, had)
        except (SampanError, OSError) as error:
            log.warning("ports of container %s are not reached over IPv6: %s", container.name, error)

    def check_leaves(self, name: str) -> None:
        """``Invalid`` if it is a network that nobody can leave."""
        network = self._records.by_name(name)
        if network is not None and self._features(network).sandbox != "own":
            what = "container was created in host network mode"
            raise Invalid(f"cannot disconnect container from host network - {what}")

    def told_leaving(self, container: Container, name: str) -> None:
        """A container that does not run has been taken off a network."""
        if (network := self._records.by_name(name)) is not None:
            self._event("disconnect", network, container)

    def sandbox(self, container_id: str) -> Path:
        """The sandbox of a running container, for another one to live in."""
        return self._sandboxes.existing(container_id)

    def has_names(self, container: Container) -> bool:
        """Has the running container a name server at 127.0.0.11?"""
        return self._naming.serves(container)

    def renamed(self, container: Container) -> None:
        """The container has another name now, by which others find it, too, if it runs."""
        for endpoint in container.endpoints.values():
            if container.id in self._records.members(endpoint.network):
                self._records.enter(endpoint.network, container.id, container.name)
        self._naming.renamed(container)

    def sandbox_of(self, container: Container) -> str:
        """Where a running container's network namespace is; ``""`` if it is another container's, or it does not run."""
        if not container.state.pid or self._mode(container.host_config).startswith(CONTAINER):
            return ""
        own = self._own_sandbox(container)
        return str(self._sandboxes.path(container.id) if own else self._sandboxes.hosts)

    def user_namespace(self, container_id: str) -> Path:
        """The user namespace that was made with a container's sandbox, until it is detached."""
        return self._sandboxes.users(container_id)

    def gateway(self, container: Container) -> str:
        """What ``host-gateway`` means: the host's address on the container's way out, without one that on the default
        network, as with Docker; or ``""``."""
        for endpoint in container.endpoints.values():
            if endpoint.spec and endpoint.spec.default_route and endpoint.spec.addresses:
                network = self._records.by_id(endpoint.network)
                if network is None or not network.spec.subnets or self._features(network).parent:
                    return ""  # the host is not there, or nobody has told where
                return network.spec.subnets[0].gateway
        usual = self._records.by_name(defaults.NAME)
        return usual.spec.subnets[0].gateway if usual and usual.spec.subnets else ""

    def _own_sandbox(self, container: Container) -> bool:
        mode = self._mode(container.host_config)
        if mode.startswith(CONTAINER):
            return False
        networks = [self._records.by_id(endpoint.network) for endpoint in container.endpoints.values()]
        try:
            return all(self._features(network).sandbox == "own" for network in networks if network)
        except SampanError:
            return True

    def _mode(self, host_config: Mapping[str, Any]) -> str:
        mode = str(host_config.get("NetworkMode") or "default")
        return defaults.mode(self._config.network) if mode == "default" else mode

    def _places(self, container: Container, *, lost: bool = False) -> Sequence[Place]:
        """``lost``: leave out networks that are there no more, instead of raising ``NotFound``."""
        places = []
        for endpoint in container.endpoints.values():
            try:
                network = self._records.by_id(endpoint.network) or self.get(endpoint.network_name)
                place = Place(endpoint, network, self._driver(network), self._records.addresses(network))
            except SampanError:
                if not lost:
                    raise
                continue
            endpoint.network = network.spec.id
            places.append(place)
        return places

    def _remember(self, container: Container, landings: Sequence[Landing]) -> Sequence[Joined]:
        """What a container that runs already has: noted as in use, and told to the driver."""
        joined, holds = [], ferries.holds(landings)
        for endpoint in container.endpoints.values():
            network = self._records.by_id(endpoint.network)
            if network is None or endpoint.spec is None:
                continue
            self._records.addresses(network).take(endpoint.spec.addresses)
            ferries.complete(holds, endpoint.spec, endpoint.ports)
            self._ports.take(container.id, endpoint.ports, holds)
            self._records.enter(network.spec.id, container.id, container.name)
            sandbox = self._sandboxes.path(container.id)
            ports = tuple(ferries.driven(endpoint.spec, endpoint.ports))
            joined.append(Joined(network=network.spec.id, endpoint=endpoint.spec, sandbox=sandbox, ports=ports))
        return joined

    def _restore(self, joined: Sequence[Joined]) -> None:
        for name, driver in self._drivers.loaded("network").items():
            specs = {one.spec.id: one.spec for one in self.list() if one.spec.driver == name}
            try:
                known = [one for one in joined if one.network in specs]
                self._drivers.restored("network", name, partial(driver.restore, specs, known))
            except Exception as error:  # one driver's trouble must not keep the daemon from starting
                log.error("network driver %s could not restore: %s", name, error, exc_info=error)

    def _make_default(self, wanted: defaults.Default) -> None:
        known = self._records.by_name(wanted.name)
        if known is not None:
            if self._records.members(known.spec.id) or wanted.describes(known.spec):
                return
            self._driver(known).remove_network(known.spec)
            self._records.remove(known.spec.id)
        self._make(self._maker.default(wanted))

    def _make(self, network: Network) -> None:
        spec, driver = network.spec, self._driver(network)
        driver.validate(spec)
        with Undo() as undo:
            undo.push(driver.remove_network, spec)
            driver.create_network(spec)
            self._records.add(network)
        self._event("create", network)

    def _driver(self, network: Network) -> NetworkDriver:
        return self._drivers.network(network.spec.driver)

    def _features(self, network: Network) -> NetworkFeatures:
        return self._driver(network).features()

    def _event(self, action: str, network: Network, container: Container | None = None) -> None:
        kind = "null" if network.spec.driver == "none" else network.spec.driver  # as Docker's clients know it
        attributes = {"name": network.spec.name, "type": kind}
        if container is not None:
            attributes["container"] = container.id
        self._events.publish("network", action, network.spec.id, attributes)
