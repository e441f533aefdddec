"""The name servers of all containers: who is served, and of whom they know."""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sampan.errors import SampanError
from sampan.networks.names import directory, resolvconf
from sampan.networks.names.desk import Desk
from sampan.networks.names.directory import Directory
from sampan.networks.names.loop import Loop
from sampan.networks.names.resolvconf import Resolving
from sampan.networks.names.sandboxed import Sockets, open_in
from sampan.networks.names.upstream import Server
from sampan.types import Container, Endpoint, Network

log = logging.getLogger(__name__)

_FRESH = 2.0  # seconds for which the host's resolv.conf is taken to be as it was


class Way(enum.Enum):
    """From where the host's name servers are asked on behalf of a container that names none itself."""

    NONE = "none"  # they are not: it has no way out, and that would be one
    HOST = "host"
    SANDBOX = "sandbox"  # from the container's own network namespace: its network does not let everything out


class Names:
    """Thread-safe, but for calls that name the same container: those come one after another.

    ``defaults`` are the engine's ``dns`` and ``dns_search``.
    """

    def __init__(self, defaults: Mapping[str, Sequence[str]]) -> None:
        self._defaults = defaults
        self._directory = Directory()
        self._loop = Loop("names")
        self._desks: dict[str, Desk] = {}
        self._ways: dict[str, Way] = {}
        self._lock = threading.Lock()
        self._host = _Host()
        self._due: set[str] = set()  # containers that an earlier daemon served
        self._opening: threading.Thread | None = None
        self._closing = False

    def enter(self, network: Network, container: Container, endpoint: Endpoint) -> None:
        """From now on the container can be found on the network, and finds who is there. Again, if its names or
        addresses are others now."""
        if endpoint.spec is None:
            return
        names = directory.names(container, endpoint)
        links, spec = directory.links(endpoint.links), network.spec
        self._directory.enter(spec.id, spec.name, container.id, names, endpoint.spec.addresses, links)

    def leave(self, network_id: str, container_id: str) -> None:
        """Nobody finds it there any more. Idempotent."""
        self._directory.leave(network_id, container_id)

    def sees(self, container_id: str) -> bool:
        """Is the container on any network with names? Then it asks 127.0.0.11."""
        return self._directory.sees(container_id)

    def serve(self, container: Container, sandbox: Path, *, way: Way) -> None:
        """Have the container's own name server in its sandbox; nothing happens if there is one, but for ``way``."""
        self._ways[container.id] = way
        with self._lock:
            self._due.discard(container.id)
            if container.id in self._desks:
                return
        self._begin(container, open_in(sandbox))

    def stop(self, container_id: str) -> None:
        """The sandbox goes, or its container is on no network any more. Idempotent."""
        self._ways.pop(container_id, None)
        with self._lock:
            self._due.discard(container_id)
            desk = self._desks.pop(container_id, None)
        if desk is not None:
            self._loop.post(desk.close)

    def reopen(self, containers: Iterable[tuple[Container, Path, Way]]) -> None:
        """Serve those that an earlier daemon served, with their sandboxes and ways; beside."""
        wanted = list(containers)
        if wanted:
            self._ways.update({container.id: way for container, _, way in wanted})
            self._due.update(container.id for container, _, _ in wanted)
            self._opening = threading.Thread(target=self._reopen, args=(wanted,), name="names-again", daemon=True)
            self._opening.start()

    def close(self) -> None:
        """Containers live on, without a name server until the next daemon."""
        self._closing = True
        if self._opening:
            self._opening.join(5.0)
        for container in list(self._desks):
            self.stop(container)
        self._loop.close()

    def _reopen(self, wanted: Sequence[tuple[Container, Path, Way]]) -> None:
        for container, sandbox, _ in wanted:
            if self._closing:
                return
            try:
                sockets = open_in(sandbox)
            except (SampanError, OSError) as error:
                if container.id in self._due:
                    log.error("container %s has no name server any more: %s", container.name, error)
                continue
            with self._lock:
                due = container.id in self._due  # it may have ended meanwhile, or even be on its next run
                self._due.discard(container.id)
            if due:
                self._begin(container, sockets)
            else:
                sockets.close()

    def _begin(self, container: Container, sockets: Sockets) -> None:
        resolving = resolvconf.wanted(container.host_config, self._defaults)
        desk = Desk(self._loop, self._directory, container.id, sockets, lambda: self._policy(container.id, resolving))
        self._loop.start()
        with self._lock:
            self._desks[container.id] = desk
        self._loop.post(desk.open)

    def _policy(self, container: str, resolving: Resolving) -> tuple[Sequence[Server], bool]:
        way = self._ways.get(container, Way.NONE)
        if not resolving.of_host:
            servers = [Server(one, False) for one in resolving.servers if one != resolvconf.SERVER]
        elif way is Way.SANDBOX:
            servers = [Server(one, False) for one in resolvconf.elsewhere(self._host.servers())]
        else:
            servers = [Server(one, True) for one in self._host.servers()] if way is Way.HOST else []
        return servers, resolving.dots


class _Host:
    """The host's name servers, as they are now: hosts move from one network to another."""

    def __init__(self) -> None:
        self._looked = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._servers: Sequence[str] = ()

    def servers(self) -> Sequence[str]:
        now = time.monotonic()
        if now - self._looked > _FRESH:
            self._looked = now
            with contextlib.suppress(OSError):
                status = resolvconf.HOSTS_OWN.stat()
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    self._stamp, self._servers = stamp, resolvconf.read(resolvconf.HOSTS_OWN).servers
        return self._servers
