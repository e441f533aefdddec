"""What the engine knows of its networks: their records, their addresses, and who is on them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from sampan.drivers.types import Subnet
from sampan.errors import Invalid, NotFound
from sampan.networks.addresses import Addresses
from sampan.networks.subnets import IPNetwork, parsed
from sampan.state import State
from sampan.types import Network

_TABLE = "networks"


class Records:
    """Single steps are thread-safe; who adds or removes networks does so one after another."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._networks: dict[str, Network] = {}
        self._addresses: dict[str, Addresses] = {}
        self._members: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()  # nobody enters a network that is going
        self._going: set[str] = set()

    def load(self) -> None:
        self._networks = self._state.load(_TABLE, Network)

    def all(self) -> list[Network]:
        return list(self._networks.copy().values())

    def by_id(self, ident: str) -> Network | None:
        return self._networks.get(ident)

    def by_name(self, name: str) -> Network | None:
        return next((network for network in self.all() if network.spec.name == name), None)

    def find(self, reference: str) -> Network:
        """By id, by name, or by the beginning of an id that only one has."""
        exact = self.by_id(reference) or self.by_name(reference)
        if exact is not None:
            return exact
        found = [one for one in self.all() if reference and one.spec.id.startswith(reference)]
        if len(found) > 1:
            raise Invalid(f"network {reference} is ambiguous ({len(found)} matches found based on ID prefix)")
        if not found:
            raise NotFound(f"network {reference} not found")
        return found[0]

    def add(self, network: Network) -> None:
        self._state.put(_TABLE, network.spec.id, network)
        self._networks[network.spec.id] = network

    def remove(self, ident: str) -> None:
        self._state.delete(_TABLE, ident)
        self._networks.pop(ident, None)
        self._going.discard(ident)
        self._addresses.pop(ident, None)
        self._members.pop(ident, None)

    def addresses(self, network: Network) -> Addresses:
        ident = network.spec.id
        return self._addresses.get(ident) or self._addresses.setdefault(ident, Addresses(network.spec))

    def members(self, ident: str) -> Mapping[str, str]:
        """The names of the containers on a network, by their ids."""
        return self._members.get(ident, {}).copy()

    def enter(self, ident: str, container: str, name: str) -> None:
        """``NotFound`` if the network is gone, or on its way."""
        with self._lock:
            if ident in self._going or ident not in self._networks:
                raise NotFound(f"network {ident} not found")
            self._members.setdefault(ident, {})[container] = name

    def retire(self, ident: str) -> Mapping[str, str]:
        """Let nobody enter any more; if somebody is there, who it is, and all stays as it was."""
        with self._lock:
            members = self.members(ident)
            if not members:
                self._going.add(ident)
            return members

    def keep(self, ident: str) -> None:
        """It has not gone after all."""
        self._going.discard(ident)

    def leave(self, ident: str, container: str) -> bool:
        """Was it there?"""
        return self._members.get(ident, {}).pop(container, None) is not None

    def anybody(self) -> bool:
        return any(self._members.values())

    def subnets(self) -> dict[str, Sequence[Subnet]]:
        """The subnets of every network, by its name, but of those that are only configurations."""
        return {network.spec.name: network.spec.subnets for network in self.all() if not network.config_only}

    def ranges(self) -> list[IPNetwork]:
        return [parsed(one) for several in self.subnets().values() for one in several]
