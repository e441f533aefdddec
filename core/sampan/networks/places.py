"""A container's places on its networks, and which of them is its way out: libnetwork's choice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sampan.drivers import NetworkDriver
from sampan.networks.addresses import Addresses
from sampan.types import Endpoint, Network


class Place(NamedTuple):
    """One endpoint of a container with all that it takes to join it."""

    endpoint: Endpoint
    network: Network
    driver: NetworkDriver
    addresses: Addresses

    @property
    def name(self) -> str:
        return self.network.spec.name

    @property
    def publishes(self) -> bool:
        return self.driver.features().publish and not self.network.spec.internal

    @property
    def ways(self) -> frozenset[int]:
        """The IP versions in which the world can be reached from here."""
        features, spec = self.driver.features(), self.network.spec
        if features.single or features.internal or spec.internal or features.sandbox != "own":
            return frozenset()
        if features.parent and not spec.options.get(features.parent):
            return frozenset()  # it stands on nothing that leads anywhere
        if features.addresses:
            return frozenset(6 if ":" in subnet.gateway else 4 for subnet in spec.subnets if subnet.gateway)
        known = self.endpoint.spec.addresses if self.endpoint.spec else ()
        return frozenset(6 if ":" in address else 4 for address in known) or frozenset({4})


class WayOut(NamedTuple):
    """``through``: the names of the networks whose endpoints have a default route; ``publisher``: the name of the one
    that has the published ports, or ``""``."""

    through: Collection[str]
    publisher: str


def way_out(places: Sequence[Place]) -> WayOut:
    """The first network that leads out in both IP versions, else the first in each; first is who has the highest
    priority, then by name (libnetwork, ``selectGatewayEndpoint``)."""
    ordered = sorted((place for place in places if place.ways), key=lambda one: (-one.endpoint.gw_priority, one.name))
    both = next((one for one in ordered if len(one.ways) > 1), None)
    if both:
        chosen = [both]
    else:
        firsts = (next((one for one in ordered if version in one.ways), None) for version in (4, 6))
        chosen = [one for one in firsts if one]
    able = [one for one in (*chosen, *places) if one.publishes]
    return WayOut([one.name for one in chosen], able[0].name if able else "")
