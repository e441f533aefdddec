"""What may be thrown away: blobs and layers that neither a record nor a lease speaks for.

Whoever makes an image first leases the blobs and layers that it will consist of; when the lease ends, what no
record took over by then is removed. Removing an image is the same in reverse: lease what it consists of, delete the
record, let the lease end. So there is one place where anything is ever thrown away, and two loads that share a layer
cannot pull it from under each other.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import NamedTuple, Protocol

from sampan.images.content import ContentStore
from sampan.images.layers import Layers


class Used(NamedTuple):
    """Digests of blobs and chain ids of layers."""

    blobs: set[str]
    chains: set[str]


class Recorded(Protocol):
    """What the records speak for. Who tells must not wait for a lease."""

    def used(self) -> Used: ...

    def needs_blob(self, digest: str) -> bool: ...

    def needs_chain(self, chain: str) -> bool: ...


class Leases:
    """The leases that are open."""

    def __init__(self, content: ContentStore, layers: Layers, records: Recorded) -> None:
        self._content = content
        self._layers = layers
        self._records = records
        self._lock = threading.Lock()
        self._open: list[Lease] = []

    def lease(self) -> Lease:
        return Lease(self)

    def begin(self, lease: Lease) -> None:
        with self._lock:
            self._open.append(lease)

    def hold(self, lease: Lease, blobs: list[str], chains: list[str]) -> None:
        with self._lock:
            lease.blobs.update(blobs)
            lease.chains.update(dict.fromkeys(chains))

    def end(self, lease: Lease) -> list[str]:
        """Remove what nobody speaks for any more; returns the chain ids of the layers removed, topmost first."""
        with self._lock:
            self._open.remove(lease)
            for digest in lease.blobs:
                if not self._records.needs_blob(digest) and not any(digest in each.blobs for each in self._open):
                    self._content.remove(digest)
        removed = []
        for chain in reversed(lease.chains):
            with self._layers.locked(chain):
                # Asked again under the layer's lock: whoever leases it from here on waits and unpacks it anew.
                if not self._speaks_for(chain) and self._layers.remove(chain):
                    removed.append(chain)
        return removed

    def sweep(self) -> None:
        """Remove every blob that nobody speaks for: what a crash left behind."""
        with self._lock:
            used = self._records.used().blobs.union(*(lease.blobs for lease in self._open))
            for digest in set(self._content.digests()) - used:
                self._content.remove(digest)

    def _speaks_for(self, chain: str) -> bool:
        with self._lock:
            return self._records.needs_chain(chain) or any(chain in each.chains for each in self._open)


class Lease:
    """Blobs and layers held for as long as the ``with`` block lasts. ``removed`` is filled when it ends."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.blobs: set[str] = set()
        self.chains: dict[str, None] = {}
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
