"""Ports on the host's IPv6 addresses of containers that have only IPv4: no firewall turns one into the other.

So no driver hears of them. Their sockets are not just held: clients are let in, and the container's monitor has them
carried to it (:mod:`sampan.monitor.landings`), as Docker has its proxy do. SCTP is not carried.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sampan.drivers.types import EndpointSpec, PortBinding
from sampan.errors import SampanError
from sampan.networks.holding import Hold, hold

PROTOCOLS = ("tcp", "udp")


class Landing(NamedTuple):
    """A socket of the host's, ``fd``, on which clients come by IPv6 to a container that has only IPv4.

    ``route``: the protocol, and the address and the port that they are carried to; ``place``: the address and the port
    of the host.
    """

    route: tuple[str, str, int]
    place: tuple[str, int]
    fd: int


def carried(spec: EndpointSpec, port: PortBinding) -> bool:
    """Does this port need a ferry?"""
    return ":" in port.host_ip and bool(port.host_port) and port.protocol in PROTOCOLS and needed(spec.addresses)


def driven(spec: EndpointSpec, ports: Iterable[PortBinding]) -> list[PortBinding]:
    """Those that are the network driver's."""
    return [port for port in ports if not carried(spec, port)]


def landing(spec: EndpointSpec, port: PortBinding, fd: int) -> Landing:
    target = next(address for address in spec.addresses if ":" not in address)
    route = (port.protocol, str(ipaddress.ip_interface(target).ip), port.container_port)
    return Landing(route, (port.host_ip, port.host_port), fd)


def holds(landings: Iterable[Landing]) -> dict[tuple[str, int, str], Hold]:
    """What a monitor watches, as what holds the ports, by protocol, port and address."""
    return {(one.route[0], one.place[1], one.place[0]): Hold(one.fd) for one in landings}


def complete(known: dict[tuple[str, int, str], Hold], spec: EndpointSpec, ports: Iterable[PortBinding]) -> None:
    """Hold what a container that runs has, and its monitor does not know of."""
    for port in ports:
        key = port.protocol, port.host_port, port.host_ip
        if carried(spec, port) and key not in known:
            with contextlib.suppress(SampanError):  # somebody was quicker
                known[key] = hold(port.protocol, port.host_ip, port.host_port, landing=True)


def needed(addresses: Sequence[str]) -> bool:
    """Has an endpoint with these addresses none of IPv6?"""
    return bool(addresses) and not any(":" in address for address in addresses)
