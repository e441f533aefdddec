"""What a client asks of a container's networking when it makes it: ``NetworkMode`` and ``NetworkingConfig``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.drivers.types import NetworkFeatures
from sampan.errors import Conflict, Invalid, NotFound
from sampan.networks import interfaces, ports
from sampan.types import Container, Endpoint, Network

CONTAINER = "container:"
_SETTINGS = "invalid endpoint settings: "
_SHARES = "container sharing network namespace with another container or host cannot be connected to any other network"
_ALONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


class Planner:
    """Turns requests into endpoints. ``find`` raises ``NotFound`` for networks that are not there."""

    def __init__(self, find: Callable[[str], Network], features: Callable[[Network], NetworkFeatures]) -> None:
        self._find = find
        self._features = features

    def plan(
        self, mode: str, host_config: Mapping[str, Any], wanted: Mapping[str, Any], config: Mapping[str, Any]
    ) -> dict[str, Endpoint]:
        """Endpoints by network name, that of ``mode`` first; none for ``container:X``. The default network is only for
        who names it, or names none, as with dockerd."""
        read_ports(host_config, config)
        if mode.startswith(CONTAINER):
            if any((settings or {}).get("MacAddress") for settings in wanted.values()) or config.get("MacAddress"):
                raise Invalid("conflicting options: mac-address and the network mode")
            if wanted:
                raise Conflict("conflicting options: a container in another's network cannot be on networks itself")
            return {}
        first = self._find(mode)
        settings: dict[str, tuple[Network, dict[str, Any]]] = {}
        stands_in = first.spec.default and not self._features(first).single
        if not (stands_in and wanted) or config.get("MacAddress"):
            settings[first.spec.id] = (first, {})
        for reference, given in wanted.items():
            network = first if reference in (mode, "default") else self._find(reference)
            settings[network.spec.id] = (network, dict(given or {}) or settings.get(network.spec.id, (network, {}))[1])
        if first.spec.id in settings:
            _take_over_mac(settings[first.spec.id][1], config)
        networks = [network for network, _ in settings.values()]
        self._check_together(networks)
        return {network.spec.name: self._planned(network, given) for network, given in settings.values()}

    def joining(self, container: Container, mode: str, network: Network, given: Mapping[str, Any]) -> Endpoint:
        """An endpoint for one more network of a container that exists. Refusals are Docker's."""
        if mode.startswith(CONTAINER) or self._in_host(container):
            raise Invalid(_SHARES)
        if self._features(network).sandbox != "own":
            raise Invalid("cannot connect container to host network - container must be created in host network mode")
        networks = [self._find(each) for each in container.endpoints]
        if networks and any(self._features(each).single for each in (network, *networks)):
            raise Invalid(_ALONE)
        return self._endpoint(network, given)

    def _in_host(self, container: Container) -> bool:
        try:
            return any(self._features(self._find(each)).sandbox != "own" for each in container.endpoints)
        except NotFound:
            return False

    def _planned(self, network: Network, given: Mapping[str, Any]) -> Endpoint:
        try:
            return self._endpoint(network, given)
        except Invalid as error:
            raise Invalid(f"invalid config for network {network.spec.name}: {error.message}") from None

    def _check_together(self, networks: list[Network]) -> None:
        alone = [network.spec.name for network in networks if self._features(network).single]
        if alone and len(networks) > 1:
            raise Conflict(f"conflicting options: a container on network {alone[0]} cannot be on other networks, too")

    def _endpoint(self, network: Network, given: Mapping[str, Any]) -> Endpoint:
        spec, ipam = network.spec, given.get("IPAMConfig") or {}
        v4 = _address(str(ipam.get("IPv4Address") or ""), 4)
        v6 = _address(str(ipam.get("IPv6Address") or ""), 6)
        own = not spec.default and not self._features(network).single
        if (v4 or v6) and not own:
            raise Invalid(f"{_SETTINGS}user specified IP address is supported on user defined networks only")
        for address in filter(None, (v4, v6)):
            _check_configured(network, address)
        aliases = [str(alias) for alias in given.get("Aliases") or ()]
        if aliases and not own:
            what = "network-scoped alias is supported only for containers in user defined networks"
            raise Invalid(f"{_SETTINGS}{what}")
        mac = str(given.get("MacAddress") or "")
        _check_mac(mac)
        interfaces.check(given.get("DriverOpts") or {})
        return Endpoint(
            network=spec.id,
            network_name=spec.name,
            aliases=aliases,
            requested_ipv4=v4,
            requested_ipv6=v6,
            requested_mac=mac.lower(),
            link_local=[_link_local(str(address)) for address in ipam.get("LinkLocalIPs") or ()],
            driver_options=dict(given.get("DriverOpts") or {}),
            links=[str(link) for link in given.get("Links") or ()],
            gw_priority=_priority(given.get("GwPriority")),
        )


def _take_over_mac(given: dict[str, Any], config: Mapping[str, Any]) -> None:
    """The one of the whole container, as older clients give it, is that of its first network."""
    wide = str(config.get("MacAddress") or "")
    given["MacAddress"] = given.get("MacAddress") or wide
    if wide and str(given["MacAddress"]).lower() != wide.lower():
        raise Invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be "
            "left empty"
        )


def read_ports(host_config: Mapping[str, Any], config: Mapping[str, Any]) -> list[ports.Wish]:
    """The ports that a container wants published."""
    exposed, bindings = config.get("ExposedPorts") or {}, host_config.get("PortBindings") or {}
    return ports.read(exposed, bindings, bool(host_config.get("PublishAllPorts")))


def _link_local(text: str) -> str:
    """With the prefix that Docker gives to it: 16 bits, or 64 for IPv6 (RFC 3927 2.6.1, RFC 4291 2.5.6)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or not address.is_link_local:
        raise Invalid(f"{_SETTINGS}invalid link-local IP address {text}: one like 169.254.8.8 or fe80::8 is needed")
    return f"{address}/{16 if address.version == 4 else 64}"


def _check_configured(network: Network, address: str) -> None:
    """As Docker: who wants an address of his own must have said from which subnet."""
    spec = network.spec
    subnets = [subnet.subnet for subnet in spec.subnets if subnet.subnet not in network.picked]
    if not subnets:
        what = "user specified IP address is supported only when connecting to networks with user configured subnets"
        raise Invalid(f"{_SETTINGS}{what}")
    if not any(ipaddress.ip_address(address) in ipaddress.ip_network(subnet) for subnet in subnets):
        raise Invalid(f"{_SETTINGS}no configured subnet or ip-range contain the IP address {address}")


def _check_mac(mac: str) -> None:
    if mac and not _MAC.fullmatch(mac):
        raise Invalid(f"{_SETTINGS}invalid MAC address {mac}: six bytes like 02:42:ac:11:00:02 are needed")
    if mac and (int(mac[:2], 16) & 1 or not mac.strip("0:")):
        raise Invalid(
            f"{_SETTINGS}invalid MAC address {mac}: no link can have it, for the first byte is odd or all are zero"
        )


def _priority(value: object) -> int:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31):
        return value or 0
    raise Invalid(f"{_SETTINGS}invalid GwPriority {value!r}: a whole number is needed")


def _address(text: str, version: int) -> str:
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or getattr(address, "ipv4_mapped", None):
        raise Invalid(f"invalid IPv{version} address: {text}")
    return str(address)
