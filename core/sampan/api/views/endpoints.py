"""Endpoints, addresses and ports: ``EndpointSettings``, ``NetworkSettings`` and the two ways of listing ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from sampan.networks.names import directory
from sampan.types import Container, Endpoint, Network

DEFAULT = ("bridge", "host", "none")
FindNetwork = Callable[[str], Network | None]


def settings(container: Container, endpoint: Endpoint, find: FindNetwork) -> dict[str, Any]:
    """``EndpointSettings``: the wish, and what is, while the container runs."""
    spec = endpoint.spec
    network = find(endpoint.network) if spec else None
    v4, v4_bits = _address(spec.addresses if spec else (), 4)
    v6, v6_bits = _address(spec.addresses if spec else (), 6)
    return {
        "IPAMConfig": _wish(endpoint),
        "Links": list(endpoint.links) or None,
        "Aliases": list(endpoint.aliases) or None,
        "MacAddress": spec.mac if spec else endpoint.requested_mac,
        "DriverOpts": endpoint.driver_options or None,
        "GwPriority": endpoint.gw_priority,
        "NetworkID": endpoint.network,
        "EndpointID": spec.id if spec else "",
        "Gateway": _gateway(network, v4),
        "IPAddress": v4,
        "IPPrefixLen": v4_bits,
        "IPv6Gateway": _gateway(network, v6),
        "GlobalIPv6Address": v6,
        "GlobalIPv6PrefixLen": v6_bits,
        "DNSNames": _dns_names(container, endpoint),
    }


def network_settings(container: Container, find: FindNetwork, sandbox: str) -> dict[str, Any]:
    """``NetworkSettings``; the addresses at its top repeat those of the default network, as they always did.

    ``sandbox`` is the path of its network namespace, ``""`` if that is another container's, or there is none now."""
    networks = {name: settings(container, endpoint, find) for name, endpoint in container.endpoints.items()}
    top = networks.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": container.id if sandbox else "",
        "SandboxKey": sandbox,
        "Ports": port_map(container),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": top.get("EndpointID", ""),
        "Gateway": top.get("Gateway", ""),
        "GlobalIPv6Address": top.get("GlobalIPv6Address", ""),
        "GlobalIPv6PrefixLen": top.get("GlobalIPv6PrefixLen", 0),
        "IPAddress": top.get("IPAddress", ""),
        "IPPrefixLen": top.get("IPPrefixLen", 0),
        "IPv6Gateway": top.get("IPv6Gateway", ""),
        "MacAddress": top.get("MacAddress", ""),
        "Networks": networks,
    }


def with_short_id(networks: dict[str, dict[str, Any]], ident: str) -> None:
    """Before API 1.45 a container's short id was told among its aliases; docker-compose 1 looks for it there."""
    for name, entry in networks.items():
        if name not in DEFAULT:
            entry["Aliases"] = [*(entry["Aliases"] or ()), ident[:12]]


def port_map(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """``PortMap`` of a running container: ``{"80/tcp": [{"HostIp": …, "HostPort": …}], "81/tcp": null}``. What is only
    exposed is told where a network of its own could publish it."""
    ports: dict[str, list[dict[str, str]] | None] = {}
    if container.state.pid and container.endpoints.keys() - {"host", "none"}:
        ports = dict.fromkeys(_exposed(container))
    for endpoint in container.endpoints.values():
        for port in endpoint.ports:
            binding = {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
            key = f"{port.container_port}/{port.protocol}"
            ports[key] = [*(ports.get(key) or []), binding]
    for bindings in ports.values():
        (bindings or []).sort(key=lambda binding: ":" in binding["HostIp"])
    return ports


def port_list(container: Container) -> list[dict[str, Any]]:
    """``Ports`` of a list's entry."""
    result: list[dict[str, Any]] = []
    for key, bindings in port_map(container).items():
        number, _, protocol = key.partition("/")
        private = {"PrivatePort": int(number), "Type": protocol}
        public = [one for one in bindings or () if one["HostPort"]]
        if not public:
            result.append(private)
        result += [{"IP": one["HostIp"], **private, "PublicPort": int(one["HostPort"])} for one in public]
    return result


def _exposed(container: Container) -> list[str]:
    """The ports that the image or the user named, single ones: ``80/tcp``."""
    named = [*(container.config.get("ExposedPorts") or {}), *(container.host_config.get("PortBindings") or {})]
    whole = (key if "/" in key else f"{key}/tcp" for key in named)
    return sorted({key for key in whole if key.partition("/")[0].isdigit()})


def _address(addresses: tuple[str, ...], version: int) -> tuple[str, int]:
    for address in addresses:
        if (":" in address) == (version == 6):
            text, _, bits = address.partition("/")
            return text, int(bits or 0)
    return "", 0


def _gateway(network: Network | None, address: str) -> str:
    """The gateway of the subnet that ``address`` is from."""
    if network is None or not address:
        return ""
    family = [subnet for subnet in network.spec.subnets if (":" in subnet.subnet) == (":" in address)]
    if len(family) > 1:
        ip = ipaddress.ip_address(address)
        family = [subnet for subnet in family if ip in ipaddress.ip_network(subnet.subnet, strict=False)]
    return family[0].gateway if family else ""


def _wish(endpoint: Endpoint) -> dict[str, object] | None:
    wish = {
        "IPv4Address": endpoint.requested_ipv4,
        "IPv6Address": endpoint.requested_ipv6,
        "LinkLocalIPs": [address.partition("/")[0] for address in endpoint.link_local],
    }
    return {key: value for key, value in wish.items() if value} or None


def _dns_names(container: Container, endpoint: Endpoint) -> list[str] | None:
    """The names under which the container is found there; the default networks have none."""
    if endpoint.network_name in DEFAULT:
        return None
    return directory.names(container, endpoint)
