"""Bringing one container onto its networks, and off them again.

Joining is a stack of steps, each undone if a later one fails. Leaving has two halves: what must be so when the
caller goes on (ports closed, sandbox out of sight) is done at once; what the kernel takes its time for (links) is
left to threads (:mod:`sampan.networks.leaving`), and only then are the addresses given back.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from sampan.drivers.steps import step
from sampan.drivers.types import EndpointSpec, NetworkSpec, PortBinding
from sampan.errors import Conflict, Exhausted, Internal, Invalid
from sampan.networks import ferries, interfaces
from sampan.networks.addresses import mac_of
from sampan.networks.defaults import Publishing
from sampan.networks.holding import has_ipv6
from sampan.networks.leaving import Leaving
from sampan.networks.places import Place, way_out
from sampan.networks.ports import Ports, Wish
from sampan.types import Container, Endpoint, Network
from sampan.undo import Undo

log = logging.getLogger(__name__)


class Joiner:
    """Thread-safe."""

    def __init__(self, ports: Ports, publishing: Callable[[Network], Publishing]) -> None:
        self._ports = ports
        self._publishing = publishing
        self._leaving = Leaving()

    def join(self, container: Container, places: Sequence[Place], sandbox: Path | None, wishes: Sequence[Wish]) -> None:
        """Join all endpoints and publish all ports, or nothing; fills ``endpoint.spec`` and ``endpoint.ports``."""
        way = way_out(places)
        with Undo() as undo:
            named = zip(places, interfaces.names([(place.endpoint, place.network) for place in places]), strict=True)
            for place, interface in named:
                self.enter(undo, container, place, interface, sandbox, default=place.name in way.through)
                if place.name == way.publisher and wishes:
                    self.publish(undo, container, place, wishes)

    def leave(self, container: Container, places: Sequence[Place]) -> None:
        """Close the ports now, and leave the rest to the thread. The sandbox is already gone or going."""
        for place in places:
            endpoint = place.endpoint
            if endpoint.spec is None:
                continue
            if endpoint.ports:
                self._unpublish(container, place, endpoint.spec, endpoint.ports)
            self._later(place, endpoint.spec)
            _forget(endpoint)

    def _later(self, place: Place, spec: EndpointSpec) -> None:
        self._leaving.later(place.driver, place.network.spec, spec, place.addresses)

    def settle(self, network: Network) -> None:
        """Have everything that left networks of the same driver really gone."""
        self._leaving.settle(network.spec.driver)

    def close(self) -> None:
        self._leaving.close()

    def enter(
        self, undo: Undo, container: Container, place: Place, interface: str, sandbox: Path | None, *, default: bool
    ) -> None:
        """Join one endpoint: fills its spec. ``default``: it is the container's way out."""
        endpoint, network = place.endpoint, place.network.spec
        given: tuple[str, ...] = ()
        if place.driver.features().addresses:
            given = _usable(container, place, self._allocate(place))
            undo.push(place.addresses.release, given)  # those alone: the others may be somebody's by then
        spec = EndpointSpec(
            id=secrets.token_hex(32),
            container=container.id,
            interface=interface,
            addresses=given,
            link_local=tuple(endpoint.link_local),
            mac=endpoint.requested_mac or (mac_of(given) if place.driver.features().macs else ""),
            default_route=default,
            options=endpoint.driver_options,
        )
        where = " ".join((spec.interface, *given))
        with step(f"join the network {network.name}", "endpoint", where, network.driver):
            own = place.driver.join(network, spec, sandbox)
        undo.push(place.driver.leave, network, spec, sandbox)
        if own and not place.driver.features().addresses:
            spec = msgspec.structs.replace(spec, addresses=_checked(own, network))
        endpoint.spec, endpoint.ports = spec, []
        undo.push(_forget, endpoint)

    def exit(self, undo: Undo, place: Place, sandbox: Path, *, force: bool) -> Sequence[str]:
        """Take one endpoint out of a sandbox that lives on. Returns the addresses that can be given back when nothing
        will be undone any more."""
        network, spec = place.network.spec, place.endpoint.spec
        if spec is None:
            return ()
        undo.push(_rejoin, place, spec, sandbox)
        try:
            with step(f"leave the network {network.name}", "endpoint", spec.interface, network.driver):
                place.driver.leave(network, spec, sandbox)
        except Exception:
            if not force:
                raise
            log.exception("container %s leaves %s by force", spec.container[:12], network.name)
            self._later(place, spec)  # once more; its addresses stay taken until then, for they are in use
            return ()
        return spec.addresses

    def reserve(self, undo: Undo, container: Container, place: Place, wishes: Sequence[Wish]) -> Sequence[PortBinding]:
        """The host's ports for these wishes; nothing is published yet."""
        return self.swap(undo, container, place, (), wishes)

    def swap(
        self,
        undo: Undo,
        container: Container,
        place: Place | None,
        gone: Sequence[PortBinding],
        wishes: Sequence[Wish],
    ) -> Sequence[PortBinding]:
        """The same, and the container's ports that are ``gone`` are free; without a ``place``, that is all."""
        if place is None:
            given, before = self._ports.exchange(container.id, gone, (), ())
        else:
            with _programming(container, place):
                given, before = self._ports.exchange(container.id, gone, wishes, *self._asked(place))
        undo.push(self._ports.take, container.id, gone, before)
        undo.push(self._ports.release, container.id, given)
        return given

    def _asked(self, place: Place) -> tuple[Sequence[str], Collection[int], bool]:
        """Where ports are published that name no address, for which versions of IP they are not, and whether what comes
        by IPv6 has to be carried."""
        asked, spec = self._publishing(place.network), place.endpoint.spec
        ferry = spec is not None and ferries.needed(spec.addresses)
        more = asked.carried if ferry and asked.carried and has_ipv6() else ()
        return [*asked.addresses, *more], asked.routed, ferry

    def publish(self, undo: Undo, container: Container, place: Place, wishes: Sequence[Wish]) -> None:
        if place.endpoint.spec is None:
            return
        bindings = self.reserve(undo, container, place, wishes)
        self.program(undo, container, place, bindings)
        place.endpoint.ports = list(bindings)

    def exchange(
        self, undo: Undo, container: Container, place: Place, gone: Sequence[PortBinding], wishes: Sequence[Wish]
    ) -> Sequence[PortBinding]:
        """Other ports for one endpoint that is joined: take ``gone`` back, publish what is wished; what that is."""
        given = self.swap(undo, container, place, gone, wishes)
        self.revoke(undo, place, gone)
        self.program(undo, container, place, given)
        return given

    def program(self, undo: Undo, container: Container, place: Place, bindings: Sequence[PortBinding]) -> None:
        network, spec = place.network.spec, place.endpoint.spec
        if not bindings or spec is None:
            return
        with step("publish ports", "port", _told(bindings), network.driver):
            if driven := ferries.driven(spec, bindings):
                with _programming(container, place):
                    place.driver.publish(network, spec, driven)
                undo.push(place.driver.unpublish, network, spec, driven)

    def revoke(self, undo: Undo, place: Place, bindings: Sequence[PortBinding]) -> None:
        network, spec = place.network.spec, place.endpoint.spec
        if not bindings or spec is None:
            return
        with step("take ports back", "port", _told(bindings), network.driver):
            if driven := ferries.driven(spec, bindings):
                undo.push(place.driver.publish, network, spec, driven)  # if it fails half-way, too
                place.driver.unpublish(network, spec, driven)

    def _allocate(self, place: Place) -> tuple[str, ...]:
        """What is taken may be so only because who had it has just left: a container that is restarted, say."""
        wanted = (place.endpoint.requested_ipv4, place.endpoint.requested_ipv6)
        try:
            return place.addresses.allocate(wanted)
        except (Conflict, Exhausted):
            if not self._leaving.settle(place.network.spec.driver):
                raise
            return place.addresses.allocate(wanted)

    def _unpublish(
        self, container: Container, place: Place, spec: EndpointSpec, bindings: Sequence[PortBinding]
    ) -> None:
        try:
            if driven := ferries.driven(spec, bindings):
                place.driver.unpublish(place.network.spec, spec, driven)
        except Exception:  # a driver's trouble must not keep a container from ending
            log.exception("ports of container %s could not be unpublished", container.id[:12])
            return
        self._ports.release(container.id, bindings)


def _checked(own: Sequence[str], network: NetworkSpec) -> tuple[str, ...]:
    """The addresses that a driver gave by itself."""
    try:
        return tuple(str(ipaddress.ip_interface(address)) for address in own)
    except ValueError:
        what = f"network driver {network.driver!r} gave an endpoint of {network.name!r} the addresses {own!r}"
        raise Internal(f"{what}, which should look like 10.5.0.2/24") from None


@contextmanager
def _programming(container: Container, place: Place) -> Iterator[None]:
    """What is wrong with ports begins with Docker's words (libnetwork, ``sbJoin``)."""
    try:
        yield
    except (Conflict, Exhausted, Invalid) as error:
        ident = place.endpoint.spec.id if place.endpoint.spec else ""
        what = f"driver failed programming external connectivity on endpoint {container.name} ({ident})"
        error.args = (f"{what}: {error.message}",)
        raise


def _rejoin(place: Place, spec: EndpointSpec, sandbox: Path) -> None:
    with suppress(Conflict):  # it had not left
        place.driver.join(place.network.spec, spec, sandbox)


def _told(bindings: Sequence[PortBinding]) -> str:
    places = [f"[{one.host_ip}]" if ":" in one.host_ip else one.host_ip for one in bindings]
    named = zip(places, bindings, strict=True)
    return " ".join(f"{place}:{one.host_port} to {one.container_port}/{one.protocol}" for place, one in named)


def _usable(container: Container, place: Place, given: tuple[str, ...]) -> tuple[str, ...]:
    """Not those of IPv6, if the container has that switched off: nobody shall be sent to them."""
    sysctls = {name.replace("/", "."): value for name, value in (container.host_config.get("Sysctls") or {}).items()}
    fourth = tuple(address for address in given if ":" not in address)
    if sysctls.get("net.ipv6.conf.all.disable_ipv6", "").strip() != "1" or not fourth:
        return given
    place.addresses.release([address for address in given if address not in fourth])
    return fourth


def _forget(endpoint: Endpoint) -> None:
    endpoint.spec, endpoint.ports = None, []
