"""Putting images together: blobs into the content store, layers into the storage driver, then the records.

That order, and the leases on everything, make it safe to be killed at any line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import FileIO
from typing import Any

from msgspec.structs import replace

from sampan.errors import Invalid, SampanError
from sampan.images import configuration, manifests
from sampan.images.compression import HEAD, NONE, recognise
from sampan.images.confined.workers import Workers
from sampan.images.content import ContentStore, Ingest, digest_of
from sampan.images.drafts import NONE as NO_DRAFTS
from sampan.images.drafts import Drafts
from sampan.images.layers import Layers, chain_ids
from sampan.images.leases import Lease
from sampan.images.records import Records, blobs_of, chains_of
from sampan.types import Image, Layer

NO_MEDIA_TYPE = ("bzip2", "xz")  # the OCI knows none for them, so such layers are kept uncompressed

Told = Callable[[str, Layer], None]


def _untold(chain: str, layer: Layer) -> None:
    return


class Intake:
    """Makes ``Image``s whose parts exist; ``admit`` makes them known."""

    def __init__(self, content: ContentStore, layers: Layers, records: Records, workers: Workers) -> None:
        self._content = content
        self._workers = workers
        self._layers = layers
        self._records = records

    def found(self, found: manifests.Found, lease: Lease, told: Told = _untold, drafts: Drafts = NO_DRAFTS) -> Image:
        """An image from an archive. ``Invalid`` if a layer is hostile or does not match the configuration."""
        config = manifests.config(found.config, len(found.layers))
        known = self._records.by_id(digest_of(found.config))
        if known is not None:
            lease.hold(blobs=blobs_of(known), chains=chains_of(known))
            if all(self._content.has(digest) for digest in blobs_of(known)):
                self._layers.ensure(None, known.layers)
                return replace(known, references=[], repo_digests=[], removed=False)  # it may be on its way out
        digests = [self._kept(file, lease, drafts) for file in found.layers]
        diff_ids = config["rootfs"].get("diff_ids") or []
        layers = [Layer(diff_id=each, digest=digest) for each, digest in zip(diff_ids, digests, strict=True)]
        return self._build(found.config, config, layers, lease, told, drafts)

    def made(self, data: bytes, lease: Lease) -> Image:
        """An image of our own: its configuration, as bytes; its layers are kept uncompressed already."""
        config = manifests.config(data)
        layers = [Layer(diff_id=diff_id, digest=diff_id) for diff_id in config["rootfs"].get("diff_ids") or []]
        return self._build(data, config, layers, lease)

    def pulled(self, data: bytes, layers: list[Layer], lease: Lease) -> Image:
        """An image from a registry: its configuration, and layers that are blobs already."""
        return self._build(data, manifests.config(data, len(layers)), layers, lease)

    def onto(self, parent: Image, data: bytes, layers: list[Layer], lease: Lease) -> Image:
        """The same for one that stands on another image's layers, of which all sizes are known: what is new is a blob,
        and is unpacked when a container or another image needs it."""
        config = manifests.config(data)
        lease.hold(blobs=[digest_of(data)], chains=chain_ids([layer.diff_id for layer in layers]))
        ident = self._content.add(data)
        self._layers.know(layers)
        created = config.get("created") or configuration.EPOCH
        size = sum(each.size for each in layers)
        return Image(id=ident, config=config, layers=layers, created=created, size=size, parent=parent.id)

    def keep(self, file: Ingest, lease: Lease) -> str:
        """Make an ingested layer a blob, in a compression that the OCI has a media type for; returns its digest."""
        with file.reader() as stream:
            if recognise(stream.read(HEAD)) not in NO_MEDIA_TYPE:
                lease.hold(blobs=[file.digest])
                return file.commit()
            stream.seek(0)
            with self.inflated(stream) as plain:
                return self.keep(plain, lease)

    def inflated(self, stream: FileIO) -> Ingest:
        """What is in a compressed file, on its way into the content store."""
        ingest = self._content.ingest()
        try:
            ingest.filled(*self._workers.inflate(stream.fileno(), ingest.fileno()))
        except SampanError as error:
            ingest.abandon()
            if error.message.startswith("it "):
                raise type(error)(f"the archive cannot be unpacked: {error.message}") from None
            raise
        except BaseException:
            ingest.abandon()
            raise
        return ingest

    def imported(self, fill: Callable[[Ingest], object], lease: Lease) -> str:
        """The tar of a root file system, compressed or not, as a blob that is not compressed; returns its digest."""
        with self._content.ingest() as ingest:
            fill(ingest)
            if not ingest.size:
                raise Invalid("there is nothing to import: the tar of the root file system is empty")
            with ingest.reader() as packed:
                if recognise(packed.read(HEAD)) == NONE:
                    return self.keep(ingest, lease)
                packed.seek(0)
                with self.inflated(packed) as plain:
                    return self.keep(plain, lease)

    def descended(
        self, found: Sequence[manifests.Found], prepared: Sequence[tuple[Image, list[str]]]
    ) -> list[tuple[Image, list[str]]]:
        """With the images that they were made of by one step, where those are here or come in with them."""
        coming = {image.id: image for image, _ in prepared}
        line = []
        for each, (image, names) in zip(found, prepared, strict=True):
            parent = coming.get(each.parent) or self._records.by_id(each.parent)
            if parent is not None and not parent.removed and _is_a_step(parent, image):
                image = replace(image, parent=parent.id)
            line.append((image, names))
        return line

    def admit(self, prepared: Sequence[tuple[Image, list[str]]]) -> list[tuple[str, Image]]:
        """Write the records and names, all together; returns the names that moved, with the image they moved from."""
        moved = []
        with self._records.transaction():
            for image, names in prepared:
                known = self._records.by_id(image.id)
                if known is not None:
                    image = replace(
                        known,
                        layers=image.layers,
                        size=image.size,
                        removed=False,
                        manifest=image.manifest or known.manifest,
                        parent=image.parent or known.parent,
                    )
                self._records.put(image)
                for name in names:
                    before = self._records.point(name, image.id)
                    if before is not None:
                        moved.append((name, before))
        return moved

    def _kept(self, file: Ingest, lease: Lease, drafts: Drafts) -> str:
        digest = self.keep(file, lease)
        if file.draft and digest == file.digest:
            drafts.name(file.draft, digest)
        return digest

    def _build(
        self,
        data: bytes,
        config: dict[str, Any],
        layers: list[Layer],
        lease: Lease,
        told: Told = _untold,
        drafts: Drafts = NO_DRAFTS,
    ) -> Image:
        chains = chain_ids([layer.diff_id for layer in layers])
        lease.hold(blobs=[digest_of(data)], chains=chains)
        ident = self._content.add(data)
        verified = {layer.digest for layer in layers}
        self._layers.ensure(None, layers, verified=verified, drafts=drafts, progress=told)
        sized = [replace(layer, size=self._layers.size(chain)) for layer, chain in zip(layers, chains, strict=True)]
        created = config.get("created") or configuration.EPOCH
        return Image(id=ident, config=config, layers=sized, created=created, size=sum(each.size for each in sized))


def _is_a_step(parent: Image, image: Image) -> bool:
    """Is the one the other and a step on top of it? So nobody's word for it can lead in a circle."""
    before, after = parent.config.get("history") or [], image.config.get("history") or []
    below = [layer.diff_id for layer in parent.layers]
    stands = [layer.diff_id for layer in image.layers[: len(below)]] == below
    return stands and len(after) == len(before) + 1 and after[:-1] == before
