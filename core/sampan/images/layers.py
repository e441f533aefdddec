"""Layers: unpacked once per storage driver, known by their chain id, kept as blobs beside that.

A layer's *diff id* is the digest of its uncompressed tar. Its *chain id* names it together with everything below it
(OCI image specification, config.md, "Layer ChainID"); storage drivers know layers by the chain id's hex digits.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.drivers.storage import StorageDriver
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unavailable
from sampan.images.compression import HEAD, recognise
from sampan.images.compression import NONE as PLAIN
from sampan.images.confined.growing import Growth
from sampan.images.confined.workers import Second, Unpacked, Workers
from sampan.images.content import ContentStore, hex_of
from sampan.images.drafts import NONE, Drafts
from sampan.linux.idmaps import SAME, IdMap
from sampan.types import Layer
from sampan.undo import Undo

if TYPE_CHECKING:
    from sampan.plugins import Drivers

log = logging.getLogger(__name__)

LARGE = 4 << 20  # bytes of a blob for which two processes are worth while


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id (64 hex digits) of each layer, the lowest first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        below = f"sha256:{chain[-1]} {diff_id}" if chain else None
        chain.append(hashlib.sha256(below.encode()).hexdigest() if below else hex_of(diff_id))
    return chain


class Layers:
    """Unpacks layers into storage drivers and removes them. Thread-safe; one layer is worked on by one thread."""

    def __init__(self, content: ContentStore, drivers: Drivers, workers: Workers, ids: IdMap = SAME) -> None:
        self._content = content
        self._workers = workers
        self._ids = ids
        self._drivers = drivers
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._unpacked: dict[StorageDriver, set[str]] = {}
        self._sizes: dict[str, int] = {}  # by chain id

    def know(self, layers: Sequence[Layer]) -> None:
        """Sizes that were measured when these layers were first unpacked."""
        for chain, layer in zip(chain_ids([layer.diff_id for layer in layers]), layers, strict=True):
            self._sizes[chain] = layer.size

    def remember(self, sizes: Mapping[str, int]) -> None:
        """The same by chain id."""
        self._sizes |= sizes

    def size(self, chain: str) -> int:
        """Unpacked bytes of one layer, without those below."""
        return self._sizes.get(chain, 0)

    def ensure(
        self,
        storage: str | None,
        layers: Sequence[Layer],
        *,
        verified: Collection[str] = (),
        drafts: Drafts = NONE,
        progress: Callable[[str, Layer], None] = lambda chain, layer: None,
    ) -> str | None:
        """Have these layers unpacked in a storage driver (None: the default); returns the topmost chain id.

        ``verified`` are digests that were checked a moment ago, so that an uncompressed blob is not hashed again.
        ``drafts`` of verified blobs are given their place instead of unpacking these once more.
        ``Invalid`` if a blob is hostile, damaged or not what its diff id says; then nothing of that layer stays.
        """
        driver = self._drivers.storage(storage)
        chains = chain_ids([layer.diff_id for layer in layers])
        if not chains or self._is_unpacked(driver, chains[-1]):
            return chains[-1] if chains else None
        parent = None
        for chain, layer in zip(chains, layers, strict=True):
            with self.locked(chain):
                if chain not in self._known(driver):
                    progress(chain, layer)
                    self._sizes[chain] = self._make(driver, chain, parent, layer, layer.digest in verified, drafts)
                    self._known(driver).add(chain)
            parent = chain
        return parent

    def remove(self, chain: str) -> bool:
        """Remove one layer from every storage driver; the caller holds its lock. False: it stays in one of them."""
        gone = True
        for driver in self._drivers.loaded("storage").values():
            try:
                driver.remove_layer(chain)
                self._unpacked.get(driver, set()).discard(chain)
            except Conflict:
                gone = False
            except (SampanError, OSError) as error:
                log.error("layer %s stays until the next start: %s", chain, error)
                gone = False
                with self._guard:
                    self._unpacked.pop(driver, None)  # the driver is asked again what of it is left
        if gone:
            self._sizes.pop(chain, None)
        return gone

    @contextmanager
    def locked(self, chain: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(chain, threading.Lock())
        with lock:
            yield

    def _is_unpacked(self, driver: StorageDriver, chain: str) -> bool:
        """If a layer is, so are those below it: no driver removes a layer on which another stands."""
        with self.locked(chain):
            return chain in self._known(driver)

    def _known(self, driver: StorageDriver) -> set[str]:
        with self._guard:
            if driver not in self._unpacked:
                self._unpacked[driver] = driver.layers()
            return self._unpacked[driver]

    def drafts(self) -> Drafts:
        """A place for layers of one image that are unpacked, for the default storage driver, while they come in."""
        driver = self._drivers.storage(None)
        return Drafts(driver if driver.features().places else None, lambda *given: self._fill(driver, *given))

    def missing(self, layers: Sequence[Layer]) -> set[str]:
        """The digests of those that are still to be unpacked for the default storage driver, or are being."""
        known = self._known(self._drivers.storage(None))
        chains = chain_ids([layer.diff_id for layer in layers])
        return {layer.digest for chain, layer in zip(chains, layers, strict=True) if chain not in known}

    def _make(
        self, driver: StorageDriver, chain: str, parent: str | None, layer: Layer, verified: bool, drafts: Drafts
    ) -> int:
        draft = drafts.take(driver, layer.digest)
        with Undo() as undo:
            try:
                done = draft.result() if draft else self._unpack(undo, driver, chain, parent, layer, not verified)
            except SampanError as error:
                raise _of_layer(layer, error) from None
            _compare(layer.diff_id, done.digest or layer.digest)
            if draft:
                undo.push(driver.remove_layer, chain)
                draft.place(chain, parent)
            driver.commit_layer(chain)
        return done.size

    def _unpack(
        self, undo: Undo, driver: StorageDriver, chain: str, parent: str | None, layer: Layer, hashed: bool
    ) -> Unpacked:
        with self._blob(layer) as blob:
            directory = driver.begin_layer(chain, parent)
            undo.push(driver.remove_layer, chain)
            return self._fill(driver, blob, directory, hashed=hashed)

    def _fill(
        self,
        driver: StorageDriver,
        blob: FileIO,
        directory: Path,
        growth: Growth | None = None,
        *,
        hashed: bool = False,
    ) -> Unpacked:
        self._give(directory)
        return self._workers.unpack(
            blob.fileno(),
            directory,
            driver.features().whiteouts,
            hashed=hashed,
            ids=self._ids,
            growth=growth,
            second=_second(blob.fileno(), growth),
        )

    def _give(self, directory: Path) -> None:
        """A new layer's own directory is root's, of this host; the container's root shall have it, unless the driver
        has copied that of the layer below."""
        if self._ids and directory.stat().st_uid == 0:
            os.chown(directory, *self._ids.root)

    def _blob(self, layer: Layer) -> FileIO:
        if not layer.digest:
            raise Unavailable(f"layer {layer.diff_id} is not kept as a blob, so it cannot be unpacked again")
        try:
            return self._content.reader(layer.digest)
        except NotFound:
            raise Unavailable(f"the blob {layer.digest} of layer {layer.diff_id} is missing: load it again") from None


def _second(blob: int, growth: Growth | None) -> Second:
    """How two processes share the work, if there are processors for two and enough to do."""
    if growth:
        growth.wait(HEAD)
    head = os.pread(blob, HEAD, 0)
    if len(os.sched_getaffinity(0)) < 2 or not (growth or os.fstat(blob).st_size >= LARGE):
        return None
    return "fills" if recognise(head) == PLAIN else "inflates"


def _of_layer(layer: Layer, error: SampanError) -> SampanError:
    """What went wrong with something that has no name of its own, with one."""
    if not error.message.startswith("it "):
        return error
    return type(error)(f"layer {layer.diff_id} cannot be unpacked: {error.message}")


def _compare(expected: str, found: str) -> None:
    if expected != found:
        raise Invalid(f"a layer does not match its image: expected diff id {expected}, got {found}")
