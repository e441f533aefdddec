"""Which containers have names on which networks: all on networks that users made, of drivers that say so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sampan.config import NetworkConfig
from sampan.drivers.steps import step
from sampan.drivers.types import NetworkFeatures
from sampan.errors import SampanError
from sampan.networks.names import Names, Way, resolvconf
from sampan.networks.records import Records
from sampan.types import Container, Endpoint, Network
from sampan.undo import Undo


class Naming:
    """Thread-safe, but for calls that name the same container: those come one after another."""

    def __init__(self, config: NetworkConfig, records: Records, features: Callable[[Network], NetworkFeatures]) -> None:
        self._records = records
        self._features = features
        self._names = Names({"dns": config.dns, "dns_search": config.dns_search})

    def enter(self, undo: Undo, container: Container, sandbox: Path | None) -> None:
        """The container has joined its networks, or some more: it is found there, and finds the others, from now on.

        May be called again whenever its endpoints are others.
        """
        places = list(self._places(container))
        if not places or sandbox is None:
            return
        undo.push(self.leave, container)
        self._enter(container, places)
        with step("open its name server", "socket", resolvconf.SERVER):
            self._names.serve(container, sandbox, way=self._way(container))

    def leave(self, container: Container) -> None:
        """It is found nowhere any more, before its addresses are anybody else's; its name server goes. Idempotent."""
        for endpoint in container.endpoints.values():
            self._names.leave(endpoint.network, container.id)
        self._names.stop(container.id)

    def leave_network(self, container: Container, network_id: str) -> None:
        """It is not found there any more. Its name server stays: who has its address goes on using it. Idempotent."""
        self._names.leave(network_id, container.id)

    def serves(self, container: Container) -> bool:
        return self._names.sees(container.id)

    def renamed(self, container: Container) -> None:
        if self._names.sees(container.id):
            self._enter(container, self._places(container))

    def reopen(self, running: Sequence[Container], path: Callable[[str], Path]) -> None:
        """Serve those that run since before this daemon; their records say where they are, ``path`` their sandboxes."""
        for container in running:
            self._enter(container, self._places(container))
        named = [one for one in running if self._names.sees(one.id)]
        self._names.reopen((one, path(one.id), self._way(one)) for one in named)

    def close(self) -> None:
        self._names.close()

    def _enter(self, container: Container, places: Iterable[tuple[Network, Endpoint]]) -> None:
        for network, endpoint in places:
            self._names.enter(network, container, endpoint)

    def _places(self, container: Container) -> Iterator[tuple[Network, Endpoint]]:
        for endpoint in container.endpoints.values():
            network = self._records.by_id(endpoint.network)
            if network is not None and endpoint.spec is not None:
                with contextlib.suppress(SampanError):  # its driver is lost
                    if not network.spec.default and self._features(network).names:
                        yield network, endpoint

    def _way(self, container: Container) -> Way:
        ways_out = [end for end in container.endpoints.values() if end.spec and end.spec.default_route]
        if not ways_out:
            return Way.NONE
        return Way.SANDBOX if any(self._filters(end.network) for end in ways_out) else Way.HOST

    def _filters(self, network_id: str) -> bool:
        """A network that cannot be asked is taken to."""
        network = self._records.by_id(network_id)
        try:
            return network is None or self._features(network).filters
        except SampanError:  # its driver is lost
            return True
