"""Inside a sandbox: the addresses of an endpoint, and the routes that make it the container's way out."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sampan.drivers.types import EndpointSpec, NetworkSpec
from sampan.errors import Invalid, NotFound, Unavailable
from sampan.linux import links, netns, sysctl
from sampan.linux.netlink import Message, Netlink
from sampan_network.values import sysctls

_WORLD = {4: "0.0.0.0/0", 6: "::/0"}


class Way(NamedTuple):
    """A default route of one IP version; without a ``gateway`` everything is on the link itself."""

    version: int
    gateway: str = ""


def gateways(network: NetworkSpec, endpoint: EndpointSpec) -> list[Way]:
    """By way of the gateways of those subnets that the endpoint's addresses are from."""
    ways: dict[int, Way] = {}
    for address in map(ipaddress.ip_interface, endpoint.addresses):
        homes = (one for one in network.subnets if one.gateway and address in ipaddress.ip_network(one.subnet))
        if home := next(homes, None):
            ways.setdefault(address.version, Way(address.version, home.gateway))
    return list(ways.values())


def neighbours(network: NetworkSpec, endpoint: EndpointSpec) -> list[str]:
    """The network's other subnets: whoever is there is on the same link."""
    addresses = [ipaddress.ip_interface(address) for address in endpoint.addresses]
    versions = {address.version for address in addresses}
    subnets = [ipaddress.ip_network(one.subnet) for one in network.subnets]
    return [str(one) for one in subnets if one.version in versions and not any(address in one for address in addresses)]


def furnish(
    namespace: int, endpoint: EndpointSpec, ways: Sequence[Way], near: Sequence[str] = (), *, dead_end: bool = False
) -> None:
    """Set the endpoint's link up, with its addresses and, if it is the way out, the default routes; one batch.

    ``near`` are subnets that are on the link, too, though the endpoint has no address of them.
    ``dead_end``: the network leads nowhere, and a container on it is not to pass packets on to its other networks,
    unless its own settings say so. Whether a new network namespace forwards is otherwise copied from the host.
    """
    name, settings = endpoint.interface, sysctls(endpoint.options, endpoint.interface)
    addresses = (*endpoint.addresses, *endpoint.link_local)

    def enter() -> Netlink:
        if any(":" in address for address in addresses):
            sysctl.write(f"net/ipv6/conf/{name}/accept_dad", "0")
            sysctl.write(f"net/ipv6/conf/{name}/disable_ipv6", "0")
        if dead_end:
            sysctl.write("net/ipv4/ip_forward", "0")
        for path, value in settings.items():
            _set(path, value)
        return Netlink()

    with netns.inside(namespace, enter) as inner:
        link = _found(inner, name)
        batch = [links.change(name, up=True), *(links.address(link.index, one) for one in addresses)]
        batch += [links.route(link.index, "", subnet) for subnet in near]
        inner.run(*batch, *(_route(link, way) for way in ways if endpoint.default_route))


def reroute(sandbox: Path, endpoint: EndpointSpec, ways: Sequence[Way]) -> None:
    """Make the default routes through the endpoint's link what ``endpoint.default_route`` says."""
    with netns.inside(sandbox, Netlink) as inner:
        link = _found(inner, endpoint.interface)
        if endpoint.default_route:
            inner.run(*(_route(link, way) for way in ways))
            return
        for failure in inner.attempt(*(links.no_default_route(link.index, way.version) for way in ways)):
            if failure is not None and not isinstance(failure, NotFound):
                raise failure


def remove(sandbox: Path | int, name: str, *, kind: str, group: int) -> None:
    """Remove the link of that name, kind and group; where there is none, or no sandbox, nothing happens."""
    try:
        with netns.inside(sandbox, Netlink) as inner:
            link = links.link(inner, name)
            if link and link.kind == kind and link.group == group:
                inner.run(links.remove(name))
    except (FileNotFoundError, NotFound):
        return


def descriptor(sandbox: Path) -> int:
    return os.open(sandbox, os.O_RDONLY | os.O_CLOEXEC)


def _route(link: links.Link, way: Way) -> Message:
    return links.route(link.index, way.gateway, _WORLD[way.version])


def _set(path: str, value: str) -> None:
    try:
        sysctl.write(path, value)
    except Unavailable as error:
        raise Invalid(f"invalid endpoint settings: {error.message}") from None


def _found(inner: Netlink, name: str) -> links.Link:
    link = links.link(inner, name)
    if link is None:
        raise NotFound(f"the link {name!r} is not in the sandbox any more")
    return link
