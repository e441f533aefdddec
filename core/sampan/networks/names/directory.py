"""Who is called what on which network, and what one container sees of that: its own networks, nothing else.

Names are looked up as libnetwork does: ``web`` on any network of the asker's, ``web.shore`` on the network ``shore``,
too. A link is one asker's private name for somebody on a network.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sampan.types import Container, Endpoint


class Found(NamedTuple):
    """Addresses, packed, by IP version."""

    v4: tuple[bytes, ...]
    v6: tuple[bytes, ...]


class Place(NamedTuple):
    """One network that a container sees, with its ``links`` there: their names, and whom they mean."""

    network: str
    links: Mapping[str, str]


def names(container: Container, endpoint: Endpoint) -> list[str]:
    """What the container is called on a network, in Docker's order; the first is what a reverse look-up gives."""
    hostname = container.config.get("Hostname") or ""
    return list(dict.fromkeys(filter(None, [container.name, *endpoint.aliases, container.id[:12], hostname])))


def links(wished: Iterable[str]) -> dict[str, str]:
    """Of links as clients write them, ``NAME`` or ``NAME:ALIAS``: the names by alias."""
    pairs = (one.partition(":") for one in wished)
    return {(alias or name).strip("/").lower(): name.strip("/").lower() for name, _, alias in pairs}


class Directory:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: dict[str, _Names] = {}
        self._views: dict[str, dict[str, Place]] = {}  # by container, by network

    def enter(
        self, network: str, network_name: str, container: str, names: Sequence[str], addresses: Iterable[str],
        links: Mapping[str, str] = {},
    ) -> None:  # fmt: skip
        """Let ``container`` be found on the network, and see who else is there. Replaces what was said before."""
        with self._lock:
            known = self._networks.setdefault(network, _Names(network_name))
            known.enter(container, names, addresses)
            self._views.setdefault(container, {})[network] = Place(network, links)

    def leave(self, network: str, container: str) -> None:
        """Idempotent."""
        with self._lock:
            view = self._views.get(container, {})
            view.pop(network, None)
            if not view:
                self._views.pop(container, None)
            known = self._networks.get(network)
            if known is not None and known.leave(container):
                del self._networks[network]

    def sees(self, container: str) -> bool:
        """Is it on any network with names?"""
        return container in self._views

    def find(self, container: str, name: str) -> Found | None:
        """The addresses of ``name`` (in lower case) as ``container`` sees it; None if nobody is called that."""
        with self._lock:
            places = list(self._views.get(container, {}).values())
            for left, right in _splits(name):
                near = [one for one in places if not right or self._networks[one.network].name == right]
                found = self._linked(near, left) or self._called(near, left)
                if found is not None:
                    return found
        return None

    def name_of(self, container: str, address: bytes) -> str | None:
        """``NAME.NETWORK`` of who has the address (packed) on a network of ``container``'s."""
        with self._lock:
            for place in self._views.get(container, {}).values():
                known = self._networks[place.network]
                if name := known.by_address.get(address):
                    return f"{name[1]}.{known.display}"
        return None

    def _linked(self, places: Iterable[Place], name: str) -> Found | None:
        for place in places:
            if (meant := place.links.get(name)) and (found := self._networks[place.network].find(meant)):
                return found
        return None

    def _called(self, places: Iterable[Place], name: str) -> Found | None:
        for place in places:
            if name not in place.links and (found := self._networks[place.network].find(name)):
                return found
        return None


class _Names:
    """Those of one network."""

    def __init__(self, name: str) -> None:
        self.display = name
        self.name = name.lower()
        self.by_name: dict[str, dict[str, Found]] = {}
        self.by_address: dict[bytes, tuple[str, str]] = {}  # who, and what it is called
        self.members: set[str] = set()

    def enter(self, container: str, names: Sequence[str], addresses: Iterable[str]) -> None:
        self.leave(container)
        packed = [ipaddress.ip_interface(address).ip.packed for address in addresses]
        found = Found(tuple(one for one in packed if len(one) == 4), tuple(one for one in packed if len(one) == 16))
        for name in names:
            self.by_name.setdefault(name.lower().rstrip("."), {})[container] = found
        if names:
            self.by_address.update(dict.fromkeys(packed, (container, names[0])))
        self.members.add(container)

    def leave(self, container: str) -> bool:
        """Is nobody left?"""
        self.members.discard(container)
        for name in [name for name, those in self.by_name.items() if container in those]:
            del self.by_name[name][container]
            if not self.by_name[name]:
                del self.by_name[name]
        for address in [one for one, (whose, _) in self.by_address.items() if whose == container]:
            del self.by_address[address]
        return not self.members

    def find(self, name: str) -> Found | None:
        those = self.by_name.get(name)
        if not those:
            return None
        v4 = (address for found in those.values() for address in found.v4)
        v6 = (address for found in those.values() for address in found.v6)
        return Found(tuple(dict.fromkeys(v4)), tuple(dict.fromkeys(v6)))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """``a.b.c`` on any network, ``a.b`` on the network ``c``, ``a`` on the network ``b.c``."""
    yield name, ""
    parts = name.split(".")
    for at in range(len(parts) - 1, 0, -1):
        yield ".".join(parts[:at]), ".".join(parts[at:])
