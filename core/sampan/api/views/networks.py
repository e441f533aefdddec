"""Networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from sampan.api.times import or_never
from sampan.types import Container, Network

_OF_THE_DEFAULT = {
    f"com.docker.network.bridge.{name}": "true" for name in ("default_bridge", "enable_icc", "enable_ip_masquerade")
}
"""What Docker tells of the network ``bridge``, and is true of ours."""
BINDING, MTU = "com.docker.network.bridge.host_binding_ipv4", "com.docker.network.driver.mtu"
"""What it tells, too, and the configuration decides."""


def network(
    network: Network, containers: Iterable[Container] = (), of_the_default: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """``Network``; in lists dockerd leaves the containers out. ``of_the_default``: more options of ``bridge``."""
    spec = network.spec
    more = {**_OF_THE_DEFAULT, **of_the_default} if spec.default and spec.driver == "bridge" else {}
    return {
        "Name": spec.name,
        "Id": spec.id,
        "Created": or_never(network.created),
        "Scope": "local",
        "Driver": "null" if spec.driver == "none" else spec.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": network.ipam_options,
            "Config": [_subnet(network, i) for i in range(len(spec.subnets))],
        },
        "Internal": spec.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": _containers(network, containers),
        "Options": {**more, **spec.options, **network.other_options},
        "Labels": network.labels,
    }


def _subnet(network: Network, index: int) -> dict[str, Any]:
    subnet = network.spec.subnets[index]
    entry: dict[str, Any] = {"Subnet": subnet.subnet}
    if subnet.ip_range:
        entry["IPRange"] = subnet.ip_range
    if subnet.gateway:
        entry["Gateway"] = subnet.gateway
    if subnet.reserved:
        entry["AuxiliaryAddresses"] = subnet.reserved
    return entry


def _containers(network: Network, containers: Iterable[Container]) -> dict[str, Any]:
    found = {}
    for container in containers:
        for endpoint in container.endpoints.values():
            if endpoint.network == network.spec.id and endpoint.spec:
                addresses = endpoint.spec.addresses
                found[container.id] = {
                    "Name": container.name,
                    "EndpointID": endpoint.spec.id,
                    "MacAddress": endpoint.spec.mac,
                    "IPv4Address": next((a for a in addresses if ":" not in a), ""),
                    "IPv6Address": next((a for a in addresses if ":" in a), ""),
                }
    return found
