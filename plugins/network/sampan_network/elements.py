"""What a network and a published port are in the firewall: elements of the sets and maps of its table."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from sampan.drivers.types import EndpointSpec, NetworkSpec, PortBinding
from sampan.errors import Invalid
from sampan.linux.setelements import Element
from sampan_network.settings import ISOLATED, ROUTED, UNPROTECTED, Settings

_EVERY = ("0.0.0.0", "::")


def of_network(owner: str, network: NetworkSpec, bridge: str, settings: Settings, *, sealed: bool) -> Iterator[Element]:
    """``sealed``: it leads nowhere. The host still reaches its containers, if the bridge has an address for that."""
    if settings.icc:
        yield Element(f"within_{owner}", f'"{bridge}" . "{bridge}"')
    subnets = [ipaddress.ip_network(one.subnet, strict=False) for one in network.subnets]
    if sealed:
        yield Element(f"sealed_{owner}", f'"{bridge}"')
        if not reached(owner, settings):
            return
        yield Element("reached", f'"{bridge}"')
    else:
        yield Element("bridges", f'"{bridge}"')
        yield from _ways(bridge, settings)
    for subnet in subnets:
        yield Element(f"own{subnet.version}", f'"{bridge}" . {subnet}')
        if settings.masquerade and not sealed and settings.mode(str(subnet)) != ROUTED:
            yield Element(f"nat{subnet.version}", f"ipv{subnet.version} . {subnet}")


def reached(owner: str, settings: Settings) -> bool:
    """May the host speak to containers of a sealed network? To those of bridges that have addresses (Docker)."""
    return owner == "bridge" and set(settings.modes) != {ISOLATED}


def of_port(settings: Settings, endpoint: EndpointSpec, port: PortBinding) -> list[Element]:
    """``Invalid`` if the endpoint has no address of the kind that the port is published on."""
    version = ipaddress.ip_address(port.host_ip).version
    addresses = (ipaddress.ip_interface(address).ip for address in endpoint.addresses)
    target = next((one for one in addresses if one.version == version), None)
    if target is None:
        what = f"port {port.container_port}/{port.protocol} cannot be published on {port.host_ip}"
        raise Invalid(f"{what}: the container has no IPv{version} address on this network")
    inner = f"{target} . {port.protocol} . {port.container_port}"
    if settings.mode(str(target)) == ROUTED:
        return [Element(f"open{version}", inner)]
    key, value = f"{port.protocol} . {port.host_port}", f"{target} . {port.container_port}"
    if port.host_ip in _EVERY:
        found = [Element(f"anyports{version}", key, value)]
    else:
        found = [Element(f"ports{version}", f"{port.host_ip} . {key}", value)]
    return [*found, Element(f"direct{version}", inner)] if settings.trusted else found


def _ways(bridge: str, settings: Settings) -> Iterator[Element]:
    for version, mode in zip((4, 6), settings.modes, strict=True):
        if mode == ROUTED:
            yield Element(f"routed{version}", f'"{bridge}"')
        if mode == UNPROTECTED:
            yield Element(f"unprotected{version}", f'"{bridge}"')
    for name in settings.trusted:
        yield Element("trusted", f'"{name}" . "{bridge}"')
