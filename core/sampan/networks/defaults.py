"""The three networks that are always there, made of the configuration: bridge, host and none."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from sampan.config import NetworkConfig
from sampan.drivers import NetworkDriver
from sampan.drivers.types import NetworkSpec
from sampan.errors import Invalid
from sampan.types import Network

NAME = "bridge"
BRIDGE_OPTION = "com.docker.network.bridge.name"
BINDING_OPTION = "com.docker.network.bridge.host_binding_ipv4"
BINDING_6_OPTION = "com.docker.network.bridge.host_binding_ipv6"
_MODE_OPTION = "com.docker.network.bridge.gateway_mode_ipv"
_SINGLE = ("host", "none")


@dataclass(frozen=True)
class Default:
    """``subnet`` is ``""`` if any of the pools will do; the options are for a driver that knows them."""

    name: str
    driver: str
    options: dict[str, str] = field(default_factory=dict)
    subnet: str = ""

    def describes(self, spec: NetworkSpec) -> bool:
        """Is the network still as the configuration wants it? A subnet that was picked stays."""
        if spec.driver != self.driver or (spec.options and spec.options != self.options):
            return False
        wanted = str(ipaddress.ip_network(self.subnet)) if self.subnet else None
        return wanted is None or any(one.subnet == wanted for one in spec.subnets)


def networks(config: NetworkConfig) -> list[Default]:
    driver = NAME if config.driver in _SINGLE else config.driver
    bridge = Default(NAME, driver, {BRIDGE_OPTION: str(config.bridge_name)}, str(config.bridge_subnet))
    return [bridge, *(Default(name, name) for name in _SINGLE)]


def mode(config: NetworkConfig) -> str:
    """The network of containers that ask for none."""
    return config.driver if config.driver in _SINGLE else NAME


def acceptable(spec: NetworkSpec, driver: NetworkDriver) -> NetworkSpec:
    """The network without its options if the driver does not know them: the name of a bridge is a wish, no more."""
    with contextlib.suppress(Invalid):
        driver.validate(spec)
        return spec
    return msgspec.structs.replace(spec, options={})


class Publishing(NamedTuple):
    """``addresses``: where a port is published that names none; ``routed``: the versions of IP for which ports are open
    at the containers' own addresses, and no port of the host leads there; ``carried``: where it is published, too,
    for containers that have no IPv6."""

    addresses: Sequence[str]
    routed: Collection[int] = ()
    carried: Sequence[str] = ()


def publishing(config: NetworkConfig, network: Network) -> Publishing:
    modes = {version: network.spec.options.get(f"{_MODE_OPTION}{version}") for version in (4, 6)}
    routed = [version for version, mode in modes.items() if mode == "routed"]
    addresses = _publish_addresses(config, network)
    if addresses != ["0.0.0.0"] or routed or not config.userland_proxy:
        return Publishing(addresses, routed)
    return Publishing(addresses, routed, [network.spec.options.get(BINDING_6_OPTION) or "::"])


def _publish_addresses(config: NetworkConfig, network: Network) -> list[str]:
    """Where a port is published that names no address: on IPv6, too, if the network has it and all of IPv4 is meant."""
    options, versions = network.spec.options, {":" in subnet.subnet for subnet in network.spec.subnets}
    first = options.get(BINDING_OPTION) or str(config.publish_address)
    second = options.get(BINDING_6_OPTION) or {"0.0.0.0": "::", "127.0.0.1": "::1"}.get(first, "")
    if True not in versions or ":" in first or not second:
        return [first]
    if False not in versions:
        return [second]
    return [first, second] if first == "0.0.0.0" or BINDING_6_OPTION in options else [first]
