"""Pulling: from a name to an image of which all is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from sampan.errors import Invalid
from sampan.images import manifests
from sampan.images.content import ContentStore
from sampan.images.drafts import NONE, Drafts
from sampan.images.intake import Intake
from sampan.images.layers import Layers, chain_ids
from sampan.images.leases import Lease, Leases
from sampan.images.records import Records, blobs_of, chains_of
from sampan.images.references import Reference
from sampan.images.registry import platforms
from sampan.images.registry.documents import Document, Index, Manifest, chosen
from sampan.images.registry.download import Downloads
from sampan.images.registry.loop import held, in_thread
from sampan.images.registry.partials import Partials
from sampan.images.registry.progress import Board, Line
from sampan.images.registry.repository import Repository
from sampan.images.registry.together import Together
from sampan.images.registry.unpacked import Unpacked
from sampan.types import Image, Layer


class Store(NamedTuple):
    """Where what is pulled is put."""

    content: ContentStore
    partials: Partials
    layers: Layers
    leases: Leases
    intake: Intake
    records: Records
    unpacked: Unpacked
    admit: Callable[[Image, Reference, str, Lease], bool]
    """Make an image known under a name and the digest of what was pulled; was there anything new about it?"""


class Pull:
    """One image's way here. ``board`` is told how far it is."""

    def __init__(self, store: Store, downloads: Downloads, source: Repository, platform: str, board: Board) -> None:
        self._store = store
        self._downloads = downloads
        self._source = source
        self._platform = platforms.parse(platform)
        self._asked_for = platform
        self._board = board

    async def run(self, name: Reference) -> bool:
        """Pull what a tag or digest names; is it new here? Until all of it is here and checked, nothing can be seen of
        it."""
        document = await self._source.manifest(name.digest or name.tag)
        self._board.say(f"Pulling from {name.path}", str(name) if name.digest else name.tag)
        found, manifest = await self._for_platform(document)
        async with held(self._store.leases.lease()) as lease:
            lease.hold(blobs=[found.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)])
            image = await self._known(manifest, lease) or await self._fetch(manifest, lease)
            if [layer.digest for layer in image.layers] == [layer.digest for layer in manifest.layers]:
                await in_thread(self._store.content.add, found.data)
                image = replace(image, manifest=found.digest)
            new = await in_thread(self._store.admit, image, name, document.digest, lease)
        self._warn(image, name)
        await in_thread(self._store.unpacked.forget, chains_of(image))
        await in_thread(self._store.partials.forget, [layer.digest for layer in manifest.layers])
        self._board.say(f"Digest: {document.digest}")
        return new

    def _warn(self, image: Image, name: Reference) -> None:
        """What is not of several for several platforms may be for another one than was asked for."""
        found = platforms.of(image.config)
        if self._asked_for and found not in platforms.runnable(self._platform):
            self._board.say("WARNING: " + platforms.mismatch(name.familiar(), found, self._platform))

    async def _for_platform(self, document: Document) -> tuple[Document, Manifest]:
        content = document.read()
        if isinstance(content, Index):
            entry = chosen(content, self._platform, document.name)
            document = await self._source.manifest(entry.digest, entry.size)
            content = document.read()
            if isinstance(content, Index):
                raise Invalid(f"the manifest list of {document.name} leads to another one")
        return document, content

    async def _known(self, manifest: Manifest, lease: Lease) -> Image | None:
        """The image if it is here already, whatever way it came."""
        image = self._store.records.by_id(manifest.config.digest)
        if image is None:
            return None
        lease.hold(blobs=blobs_of(image), chains=chains_of(image))
        if not all(self._store.content.has(digest) for digest in blobs_of(image)):
            return None
        await in_thread(self._store.layers.ensure, None, image.layers)
        return image

    async def _fetch(self, manifest: Manifest, lease: Lease) -> Image:
        data = await self._source.small(manifest.config)
        config = manifests.config(data, len(manifest.layers))
        diff_ids = config["rootfs"].get("diff_ids") or []
        lease.hold(chains=chain_ids(diff_ids))
        layers = [Layer(diff_id=diff, digest=blob.digest) for diff, blob in zip(diff_ids, manifest.layers, strict=True)]
        try:
            async with held(self._store.layers.drafts()) as drafts:
                await self._layers(manifest, layers, drafts)
        except BaseException:
            await in_thread(self._store.unpacked.forget, chain_ids(diff_ids))  # the lease takes them away
            raise
        if layers:
            await in_thread(self._store.partials.settle, list({layer.digest for layer in layers}))
        return await in_thread(self._store.intake.pulled, data, layers, lease)

    async def _layers(self, manifest: Manifest, layers: list[Layer], drafts: Drafts) -> None:
        """Download all, and have each unpacked as soon as it and those below it are here, or meanwhile."""
        lines = {layer.digest: Line(self._board, layer.short) for layer in manifest.layers}
        blobs = {layer.digest: layer for layer in manifest.layers}
        chains = chain_ids([layer.diff_id for layer in layers])
        missing = await in_thread(self._store.layers.missing, layers)
        async with Together() as together:
            fetching = {
                digest: together.begin(
                    self._downloads.fetch(self._source, blob, lines[digest], drafts if digest in missing else NONE)
                )
                for digest, blob in blobs.items()
            }
            for count, (layer, chain) in enumerate(zip(layers, chains, strict=True), 1):
                new = await together.result(fetching[layer.digest])
                line = lines[layer.digest]
                size = blobs[layer.digest].size

                def unpacking(chain: str, layer: Layer, line: Line = line, size: int = size) -> None:
                    line.move("Extracting", size, size)

                verified = {each.digest for each in layers[:count]}
                await in_thread(
                    self._store.layers.ensure,
                    None,
                    layers[:count],
                    verified=verified,
                    drafts=drafts,
                    progress=unpacking,
                )
                await in_thread(self._store.unpacked.put, chain, self._store.layers.size(chain))
                if new:
                    line.say("Pull complete")
