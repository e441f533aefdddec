"""What may be thrown away: blobs and layers that neither a record nor a lease speaks for.

Whoever makes an image first leases the blobs and layers that it will consist of; when the lease ends, what no
record took over by then is removed. Removing an image is the same in reverse: lease what it consists of, delete the
record, let the lease end. So there is one place where anything is ever thrown away, and two loads that share a layer
cannot pull it from under each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from sampan.images.content import ContentStore
from sampan.images.layers import Layers


class Used(NamedTuple):
    """Digests of blobs and chain ids of layers."""

    blobs: set[str]
    chains: set[str]


class Leases:
    """The leases that are open. ``recorded`` tells what the records speak for; it must not wait for a lease."""

    def __init__(self, content: ContentStore, layers: Layers, recorded: Callable[[], Used]) -> None:
        self._content = content
        self._layers = layers
        self._recorded = recorded
        self._lock = threading.Lock()
        self._open: list[Lease] = []

    def lease(self) -> Lease:
        return Lease(self)

    def begin(self, lease: Lease) -> None:
        with self._lock:
            self._open.append(lease)

    def hold(self, lease: Lease, blobs: list[str], chains: list[str]) -> None:
        with self._lock:
            lease.blobs.extend(blobs)
            lease.chains.extend(chains)

    def end(self, lease: Lease) -> list[str]:
        """Remove what nobody speaks for any more; returns the chain ids of the layers removed, topmost first."""
        with self._lock:
            self._open.remove(lease)
            if not lease.blobs and not lease.chains:
                return []
            used = self._used()
            for digest in set(lease.blobs) - used.blobs:
                self._content.remove(digest)
        removed = []
        for chain in reversed(list(dict.fromkeys(lease.chains))):
            with self._layers.locked(chain):
                # Asked again under the layer's lock: whoever leases it from here on waits and unpacks it anew.
                if not self._speaks_for(chain) and self._layers.remove(chain):
                    removed.append(chain)
        return removed

    def sweep(self) -> None:
        """Remove every blob that nobody speaks for: what a crash left behind."""
        with self._lock:
            for digest in set(self._content.digests()) - self._used().blobs:
                self._content.remove(digest)

    def _speaks_for(self, chain: str) -> bool:
        with self._lock:
            return chain in self._used().chains

    def _used(self) -> Used:
        recorded = self._recorded()
        return Used(
            recorded.blobs.union(*(lease.blobs for lease in self._open)),
            recorded.chains.union(*(lease.chains for lease in self._open)),
        )


class Lease:
    """Blobs and layers held for as long as the ``with`` block lasts. ``removed`` is filled when it ends."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.blobs: list[str] = []
        self.chains: list[str] = []
        self.removed: list[str] = []

    def hold(self, *, blobs: list[str] | None = None, chains: list[str] | None = None) -> None:
        """Hold these too: call it before looking whether they exist. ``chains`` are in order, the lowest first."""
        self._leases.hold(self, blobs or [], chains or [])

    def __enter__(self) -> Lease:
        self._leases.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.removed = self._leases.end(self)
