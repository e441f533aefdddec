"""Address ranges for networks: as the user says, or the first of the pools that nobody else uses."""

from __future__ import annotations

import functools
import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sampan.drivers.types import Subnet
from sampan.errors import Conflict, Exhausted, Forbidden, Invalid
from sampan.linux import links
from sampan.linux.netlink import Netlink

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_CONFIG = "invalid network config: "
_CIDR = re.compile(r"[0-9a-fA-F.:]+/\d+")


_SPECIAL = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "unspecified": ("0.0.0.0/32", "::/128"),
    "IPv4-mapped": ("::ffff:0:0/96",),
}


class Pool(Protocol):
    """``base`` cut into subnets with a prefix of ``size`` bits."""

    @property
    def base(self) -> str: ...
    @property
    def size(self) -> int: ...


def parsed(subnet: Subnet) -> IPNetwork:
    return _parsed(subnet.subnet)


@functools.lru_cache(4096)
def _parsed(subnet: str) -> IPNetwork:
    """All of them are looked at for every new network, and parsing takes longer than looking."""
    return ipaddress.ip_network(subnet)


@functools.lru_cache(4096)
def _span(subnet: str) -> tuple[int, int, int]:
    """The IP version, and the first and the last address as numbers: quicker to compare than networks are."""
    network = _parsed(subnet)
    return network.version, int(network.network_address), int(network.broadcast_address)


def host_routes(version: int) -> list[IPNetwork]:
    """What the host reaches by routes of its own, with IP version 4 or 6: networks there would cut it off."""
    with Netlink(choosy=True) as netlink:
        return links.routes(netlink, version)


def read(config: Sequence[Mapping[str, Any]]) -> tuple[Subnet, ...]:
    """The ``IPAM.Config`` of a NetworkCreateRequest, IPv4 first, gateways filled in; ``Invalid`` names what is wrong.

    An entry without a subnet is left out: it asks for one from the pools.
    """
    subnets = [_read(entry) for entry in config if entry.get("Subnet")]
    for entry in config:
        if not entry.get("Subnet") and (
            entry.get("Gateway") or entry.get("IPRange") or entry.get("AuxiliaryAddresses")
        ):
            raise Invalid(f"{_CONFIG}invalid subnet: a gateway, ip-range or auxiliary address needs a subnet, too")
    for index, one in enumerate(subnets):
        if any(_overlap(one.subnet, other.subnet) for other in subnets[:index]):
            raise Invalid(f"{_CONFIG}invalid subnet {one.subnet}: it overlaps another subnet of the same network")
    return tuple(sorted(subnets, key=lambda subnet: ":" in subnet.subnet))


def check_free(subnets: Iterable[Subnet], taken: Mapping[str, Iterable[Subnet]]) -> None:
    """``Forbidden``, in Docker's words, if a subnet overlaps one of another network (``taken``: by its name)."""
    for subnet in subnets:
        wanted = _span(subnet.subnet)
        for name, others in taken.items():
            for other in others:
                if _meet(wanted, _span(other.subnet)):
                    what = f"subnet {subnet.subnet} overlaps {other.subnet} of network {name}"
                    raise Forbidden(f"invalid pool request: Pool overlaps with other one on this address space: {what}")


def choose(pools: Iterable[Pool], version: int, taken: Sequence[IPNetwork]) -> Subnet:
    """The first subnet of the pools that overlaps nothing taken. ``Exhausted`` if there is none.

    Without a pool for IPv6, it is a unique local one, made at random (RFC 4193 section 3.2).
    """
    same = _merged(one for one in taken if one.version == version)
    own = [pool for pool in map(_base, pools) if pool[0].version == version]
    for base, size in own or ([] if version == 4 else [(_unique_local(), 64)]):
        if candidate := _first_free(base, size, same):
            return Subnet(subnet=str(candidate), gateway=str(candidate[1]))
    raise Exhausted(
        f"could not find an available, non-overlapping IPv{version} address pool among the defaults to assign to the "
        "network: add to network.default_address_pools, or give the network a subnet"
    )


def _base(pool: Pool) -> tuple[IPNetwork, int]:
    return _parsed(pool.base), pool.size


def _merged(networks: Iterable[IPNetwork]) -> list[tuple[int, int]]:
    """First and last address of each, as numbers, in order; what touches or overlaps is one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted((int(one.network_address), int(one.broadcast_address)) for one in networks):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _first_free(base: IPNetwork, size: int, taken: Sequence[tuple[int, int]]) -> IPNetwork | None:
    """The first subnet of ``base`` with a prefix of ``size`` bits that overlaps nothing of ``taken``."""
    step = 1 << (base.max_prefixlen - size)
    at, end = int(base.network_address), int(base.broadcast_address)
    for first, last in taken:
        if last < at:
            continue
        if first >= at + step:
            break
        at = (last // step + 1) * step
    if at + step - 1 > end:
        return None
    return type(base)((at, size))


def _unique_local() -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((b"\xfd" + secrets.token_bytes(7) + bytes(8), 64))


def _read(entry: Mapping[str, Any]) -> Subnet:
    subnet = _network("subnet", entry["Subnet"])
    if kind := _special(subnet):
        raise Invalid(f"{_CONFIG}invalid subnet {subnet}: it has {kind} addresses, which no network can have")
    if subnet.num_addresses < 4:
        raise Invalid(f"{_CONFIG}invalid subnet {subnet}: it is too small for a gateway and a container")
    gateway = _inside(subnet, "gateway", entry.get("Gateway"))
    others = entry.get("AuxiliaryAddresses") or {}
    reserved = {str(name): _inside(subnet, "auxiliary address", value, str(name)) for name, value in others.items()}
    address = gateway or str(subnet[1])
    for name, other in reserved.items():
        if other == address:
            raise Conflict(f"failed to allocate secondary ip address ({name}:{other}): Address already in use")
    return Subnet(subnet=str(subnet), gateway=address, ip_range=_range(subnet, entry.get("IPRange")), reserved=reserved)


def _network(what: str, value: object) -> IPNetwork:
    try:
        if not _CIDR.fullmatch(str(value)):
            raise ValueError
        network = ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        example = "something like 10.5.0.0/16 is needed"
        raise Invalid(f"{_CONFIG}invalid {what} {value}: invalid CIDR block notation: {example}") from None
    if network.network_address != ipaddress.ip_address(str(value).partition("/")[0]):
        raise Invalid(f"{_CONFIG}invalid {what} {value}: it should be {network}")
    return network


def _special(subnet: IPNetwork) -> str:
    """What its addresses are for, if not for networks (IANA's registries of special-purpose addresses)."""
    for kind, taken in _SPECIAL.items():
        if any(_meet(_span(str(subnet)), _span(one)) for one in taken):
            return kind
    return ""


def _range(subnet: IPNetwork, value: object) -> str:
    if not value:
        return ""
    inner = _network("ip-range", value)
    if inner.version != subnet.version:
        raise Invalid(f"{_CONFIG}invalid ip-range {inner}: parent subnet is an IPv{subnet.version} block")
    if inner.prefixlen < subnet.prefixlen:
        raise Invalid(f"{_CONFIG}invalid ip-range {inner}: CIDR block is bigger than its parent subnet {subnet}")
    if not inner.overlaps(subnet):
        raise Invalid(f"{_CONFIG}invalid ip-range {inner}: parent subnet {subnet} doesn't contain ip-range")
    return str(inner)


def _inside(subnet: IPNetwork, what: str, value: object, name: str = "") -> str:
    """``""`` for none."""
    if not value:
        return ""
    named = f"{_CONFIG}invalid {what} {name or value}"
    try:
        address = ipaddress.ip_address(str(value))
    except ValueError:
        raise Invalid(f"{named}: invalid address: one of the subnet {subnet} is needed") from None
    if address.version != subnet.version:
        raise Invalid(f"{named}: parent subnet is an IPv{subnet.version} block")
    if address not in subnet:
        raise Invalid(f"{named}: parent subnet {subnet} doesn't contain this address")
    if address == subnet.network_address or (address.version == 4 and address == subnet.broadcast_address):
        raise Invalid(f"{named}: the first and the last address of a subnet are nobody's")
    return str(address)


def _overlap(one: str, other: str) -> bool:
    return _meet(_span(one), _span(other))


def _meet(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    version, first, last = one
    theirs, begin, end = other
    return begin <= last and first <= end and theirs == version
