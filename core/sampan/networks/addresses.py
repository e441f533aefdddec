"""The addresses of one network: given out in turn, never twice at a time, given back once.

Nothing here is stored: after a restart the running containers' endpoints say what is in use.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable, Sequence

from sampan.drivers.types import NetworkSpec, Subnet
from sampan.errors import Conflict, Exhausted, Invalid


class Addresses:
    """Thread-safe. An address just given back is the last to be given out again, for neighbours remember it."""

    def __init__(self, network: NetworkSpec) -> None:
        self._network = network
        self._lock = threading.Lock()
        self._ranges = [_Range(subnet) for subnet in network.subnets]

    def allocate(self, wanted: Iterable[str] = ()) -> tuple[str, ...]:
        """One ``address/prefix`` per IP version that the network has, IPv4 first; ``wanted`` ones as they are.

        ``Conflict`` if a wanted one is in use, ``Invalid`` if it is of no subnet, ``Exhausted`` if none is left.
        """
        wishes = [ipaddress.ip_address(one) for one in wanted if one]
        given: list[str] = []
        with self._lock:
            try:
                for wish in wishes:
                    given += [self._range_of(str(wish)).take(int(wish))]
                for version in sorted({one.version for one in self._ranges} - {wish.version for wish in wishes}):
                    given += [self._next(version)]
            except Exception:
                self._give_back(given)
                raise
        return tuple(sorted(given, key=lambda address: ":" in address))

    def take(self, addresses: Iterable[str]) -> None:
        """Note addresses (``address/prefix``) as in use: those of containers that were running already."""
        with self._lock:
            for address in addresses:
                plain = address.partition("/")[0]
                for one in self._ranges:
                    if one.contains(plain):
                        one.used.add(int(ipaddress.ip_address(plain)))

    def release(self, addresses: Sequence[str]) -> None:
        """Give back; for addresses that are not in use nothing happens."""
        with self._lock:
            self._give_back(addresses)

    def check(self, address: str) -> None:
        """``Invalid`` if the address is of none of the network's subnets."""
        self._range_of(address)

    def _give_back(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            plain = address.partition("/")[0]
            for one in self._ranges:
                if one.contains(plain):
                    one.used.discard(int(ipaddress.ip_address(plain)))

    def _range_of(self, address: str) -> _Range:
        for one in self._ranges:
            if one.contains(address):
                return one
        subnets = ", ".join(subnet.subnet for subnet in self._network.subnets) or "no subnets"
        raise Invalid(f"no configured subnet of network {self._network.name} contains {address}: it has {subnets}")

    def _next(self, version: int) -> str:
        for one in self._ranges:
            if one.version == version and (address := one.next()):
                return address
        name, ident = self._network.name, self._network.id[:12]
        raise Exhausted(f"no available IPv{version} addresses on this network's address pools: {name} ({ident})")


class _Range:
    """One subnet, its addresses as numbers."""

    def __init__(self, subnet: Subnet) -> None:
        whole = ipaddress.ip_network(subnet.subnet)
        piece = ipaddress.ip_network(subnet.ip_range) if subnet.ip_range else whole
        self.version = whole.version
        self._whole = whole
        # The first and the last address of a subnet are not for hosts (IPv6: only the first, RFC 4291 2.6.1).
        last = int(whole.broadcast_address) - (1 if whole.version == 4 else 0)
        self._first = max(int(piece.network_address), int(whole.network_address) + 1)
        self._last = min(int(piece.broadcast_address), last)
        self._cursor = self._first
        self._fixed = {int(ipaddress.ip_address(one)) for one in (subnet.gateway, *subnet.reserved.values()) if one}
        self.used: set[int] = set()

    def contains(self, address: str) -> bool:
        return ipaddress.ip_address(address) in self._whole

    def take(self, address: int) -> str:
        text = self._text(address)
        if address in self.used or address in self._fixed:
            raise Conflict(f"Address already in use: {text.partition('/')[0]}")
        if not int(self._whole.network_address) < address <= max(self._last, int(self._whole.broadcast_address) - 1):
            raise Invalid(f"{text.partition('/')[0]} is not an address for a container in {self._whole}")
        self.used.add(address)
        return text

    def next(self) -> str:
        """``""`` if none is left."""
        size = self._last - self._first + 1
        if size <= 0:
            return ""
        for offset in range(min(size, len(self.used) + len(self._fixed) + 1)):
            address = self._first + (self._cursor - self._first + offset) % size
            if address not in self.used and address not in self._fixed:
                self._cursor = address + 1
                self.used.add(address)
                return self._text(address)
        return ""

    def _text(self, address: int) -> str:
        kind = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        return f"{kind(address)}/{self._whole.prefixlen}"


def mac_of(addresses: Sequence[str]) -> str:
    """A locally administered MAC address made of the IPv4 address, as Docker makes it: 02:42 and its four bytes."""
    for address in addresses:
        parsed = ipaddress.ip_interface(address).ip
        if parsed.version == 4:
            return "02:42:" + parsed.packed.hex(":")
    for address in addresses:
        return "02:42:" + ipaddress.ip_interface(address).ip.packed[-4:].hex(":")
    return ""
