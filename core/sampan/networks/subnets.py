"""Address ranges for networks: as the user says, or the first of the pools that nobody else uses."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from sampan.drivers.types import Subnet
from sampan.errors import Exhausted, Forbidden, Invalid
from sampan.linux import links
from sampan.linux.netlink import Netlink

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Pool(Protocol):
    """``base`` cut into subnets with a prefix of ``size`` bits."""

    @property
    def base(self) -> str: ...
    @property
    def size(self) -> int: ...


def parsed(subnet: Subnet) -> IPNetwork:
    return ipaddress.ip_network(subnet.subnet)


def host_routes() -> list[IPNetwork]:
    """What the host reaches by routes of its own: networks there would cut it off."""
    with Netlink() as netlink:
        return links.routes(netlink)


def read(config: Sequence[Mapping[str, Any]]) -> tuple[Subnet, ...]:
    """The ``IPAM.Config`` of a NetworkCreateRequest, IPv4 first, gateways filled in; ``Invalid`` names what is wrong.

    An entry without a subnet is left out: it asks for one from the pools.
    """
    subnets = [_read(entry) for entry in config if entry.get("Subnet")]
    for entry in config:
        if not entry.get("Subnet") and (
            entry.get("Gateway") or entry.get("IPRange") or entry.get("AuxiliaryAddresses")
        ):
            raise Invalid("an IPAM configuration with a gateway, IP range or auxiliary address needs a subnet, too")
    ranges = [parsed(subnet) for subnet in subnets]
    for index, one in enumerate(ranges):
        if any(_overlap(one, other) for other in ranges[:index]):
            raise Invalid(f"subnet {one} overlaps another subnet of the same network")
    return tuple(sorted(subnets, key=lambda subnet: ":" in subnet.subnet))


def check_free(subnets: Iterable[Subnet], taken: Mapping[str, Iterable[Subnet]]) -> None:
    """``Forbidden``, in Docker's words, if a subnet overlaps one of another network (``taken``: by its name)."""
    for subnet in subnets:
        for name, others in taken.items():
            for other in others:
                if _overlap(parsed(subnet), parsed(other)):
                    what = f"subnet {subnet.subnet} overlaps {other.subnet} of network {name}"
                    raise Forbidden(f"invalid pool request: Pool overlaps with other one on this address space: {what}")


def choose(pools: Iterable[Pool], version: int, taken: Sequence[IPNetwork]) -> Subnet:
    """The first subnet of the pools that overlaps nothing taken. ``Exhausted`` if there is none.

    Without a pool for IPv6, it is a unique local one, made at random (RFC 4193 section 3.2).
    """
    same = [one for one in taken if one.version == version]
    own = [pool for pool in pools if ipaddress.ip_network(pool.base).version == version]
    for candidate in _candidates(own) if own or version == 4 else _unique_local():
        if not any(candidate.overlaps(one) for one in same):
            return Subnet(subnet=str(candidate), gateway=str(candidate[1]))
    raise Exhausted(
        f"could not find an available, non-overlapping IPv{version} address pool among the defaults to assign to the "
        "network: add to network.default_address_pools, or give the network a subnet"
    )


def _candidates(pools: Iterable[Pool]) -> Iterator[IPNetwork]:
    for pool in pools:
        yield from ipaddress.ip_network(pool.base).subnets(new_prefix=pool.size)


def _unique_local() -> Iterator[IPNetwork]:
    while True:
        yield ipaddress.IPv6Network((b"\xfd" + secrets.token_bytes(7) + bytes(8), 64))


def _read(entry: Mapping[str, Any]) -> Subnet:
    subnet = _network("subnet", entry["Subnet"])
    if subnet.num_addresses < 4:
        raise Invalid(f"subnet {subnet} is too small: it must have room for a gateway and a container")
    piece = entry.get("IPRange")
    if piece:
        inner = _network("IP range", piece)
        if inner.version != subnet.version or not inner.subnet_of(subnet):  # type: ignore[arg-type]
            raise Invalid(f"IP range {inner} is not inside the subnet {subnet}")
        piece = str(inner)
    gateway = entry.get("Gateway")
    address = _inside(subnet, "gateway", gateway) if gateway else subnet[1]
    others = entry.get("AuxiliaryAddresses") or {}
    reserved = {str(name): str(_inside(subnet, "auxiliary address", value)) for name, value in others.items()}
    return Subnet(subnet=str(subnet), gateway=str(address), ip_range=piece or "", reserved=reserved)


def _network(what: str, value: object) -> IPNetwork:
    try:
        if "/" not in str(value):
            raise ValueError
        network = ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        raise Invalid(f"invalid {what} {value!r}: an address and a prefix like 10.5.0.0/16 are needed") from None
    if str(network.network_address) != str(ipaddress.ip_address(str(value).partition("/")[0])):
        raise Invalid(f"invalid {what} {value!r}: it should be {network}")
    return network


def _inside(subnet: IPNetwork, what: str, value: object) -> IPAddress:
    try:
        address = ipaddress.ip_address(str(value).partition("/")[0])
    except ValueError:
        raise Invalid(f"invalid {what} {value!r}: an address of the subnet {subnet} is needed") from None
    if address not in subnet:
        raise Invalid(f"{what} {address} is not inside the subnet {subnet}")
    return address


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)
