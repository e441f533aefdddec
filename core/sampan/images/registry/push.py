"""Pushing: an image of which all is here, to a registry.

What was pulled goes out as it came, byte for byte, its manifest too, so that it has the same digest everywhere. An
image of our own gets a manifest of Docker's schema 2; layers that are kept uncompressed are compressed for it. What
came of that is kept (``Image.pushed``), so that they are compressed once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from sampan.errors import NotFound, Unavailable
from sampan.images.compression import HEAD, NONE, recognise
from sampan.images.content import ContentStore, Ingest
from sampan.images.leases import Leases
from sampan.images.records import Records, blobs_of, chains_of
from sampan.images.references import Reference, parse
from sampan.images.registry.compressing import compress
from sampan.images.registry.documents import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    OCI_CONFIG,
    OCI_LAYER,
    Descriptor,
    Document,
    Manifest,
    compose,
    kept,
)
from sampan.images.registry.loop import held, in_thread
from sampan.images.registry.progress import Board, Line
from sampan.images.registry.repository import Repository
from sampan.images.registry.together import Together
from sampan.images.registry.unfinished import Unfinished
from sampan.images.registry.upload import Uploads
from sampan.types import Image, Layer


class Source(NamedTuple):
    """Where what is pushed lies. ``pushed`` makes known what an image is called in a registry."""

    content: ContentStore
    unfinished: Unfinished
    leases: Leases
    records: Records
    pushed: Callable[[Image, Reference, Document], None]


class Push:
    """One image's way to one repository."""

    def __init__(self, source: Source, uploads: Uploads, target: Repository, board: Board) -> None:
        self._source = source
        self._uploads = uploads
        self._target = target
        self._board = board

    async def run(self, image: Image, name: Reference) -> None:
        """Layers first, then the configuration, then the manifest: until that is there, nobody sees anything."""
        async with held(self._source.leases.lease()) as lease:
            lease.hold(blobs=blobs_of(image), chains=chains_of(image))
            if (current := self._source.records.by_id(image.id)) is None or current.removed:
                raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
            known = await in_thread(Known, self._source, name)
            came_as = _manifest_of(image, known)
            descriptors = await self._layers(image, came_as, known)
            document = kept(self._source.content, image.manifest) if came_as else self._composed(image, descriptors)
            await self._blob(image.id, self._source.content.path(image.id), known, Line(Board(), ""))
            lease.hold(blobs=[document.digest])
            await self._target.put(name.tag, document)
            await in_thread(self._source.pushed, image, name, document)
        self._board.say(f"{name.tag}: digest: {document.digest} size: {len(document.data)}")
        aux = {"Tag": name.tag, "Digest": document.digest, "Size": len(document.data)}
        self._board.put({"progressDetail": {}, "aux": aux})

    async def _layers(self, image: Image, came_as: Manifest | None, known: Known) -> dict[str, Descriptor]:
        """All layers, by diff id."""
        layers = {layer.diff_id: layer for layer in image.layers}
        lines = {diff: Line(self._board, diff.removeprefix("sha256:")[:12]) for diff in layers}
        ready = dict(zip([each.diff_id for each in image.layers], came_as.layers, strict=True)) if came_as else {}
        done: dict[str, Descriptor] = {}

        async def one(diff: str) -> bool:
            async with self._uploads.place(lines[diff]):
                done[diff] = await self._layer(layers[diff], ready.get(diff), known, lines[diff])
            return True

        for line in lines.values():
            line.say("Preparing")
        async with Together() as together:
            for task in [together.begin(one(diff)) for diff in layers]:
                await together.result(task)
        return done

    async def _layer(self, layer: Layer, ready: Descriptor | None, known: Known, line: Line) -> Descriptor:
        """Have a layer in the repository; returns what a manifest says of it."""
        content = self._source.content
        if not layer.digest or not content.has(layer.digest):
            raise Unavailable(f"layer {layer.diff_id} is not kept as a blob, so it cannot be pushed")
        compression = await in_thread(_compression, content, layer.digest)
        if ready is None and compression == NONE:
            return await self._compressed(layer, known, line)
        kind = DOCKER_LAYER if compression == "gzip" else OCI_LAYER + ("" if compression == NONE else "+zstd")
        await self._blob(layer.digest, content.path(layer.digest), known, line)
        return ready or Descriptor(digest=layer.digest, size=content.size(layer.digest), media_type=kind)

    async def _compressed(self, layer: Layer, known: Known, line: Line) -> Descriptor:
        """One that is kept uncompressed: compressed now, unless the registry has it from an earlier time."""
        before = known.compressed.get(layer.diff_id)
        if before is not None and await self._spared(before.digest, known, line):
            return before
        async with AsyncExitStack() as stack:
            packed: Ingest = stack.enter_context(self._source.content.ingest())
            await in_thread(compress, self._source.content, layer.digest, packed)
            await self._blob(packed.digest, packed.path, known, line)
            return Descriptor(digest=packed.digest, size=packed.size, media_type=DOCKER_LAYER)

    async def _blob(self, digest: str, path: Path, known: Known, line: Line) -> None:
        if not await self._spared(digest, known, line):
            await self._uploads.send(self._target, path, digest, line)
            line.say("Pushed")

    async def _spared(self, digest: str, known: Known, line: Line) -> bool:
        """Is it there, or can it be had from another repository?"""
        if await self._uploads.has(self._target, digest):
            line.say("Layer already exists")
            return True
        if source := await self._uploads.mount(self._target, digest, known.repositories(digest)):
            line.say(f"Mounted from {source}")
            return True
        return False

    def _composed(self, image: Image, descriptors: dict[str, Descriptor]) -> Document:
        layers = [descriptors[layer.diff_id] for layer in image.layers]
        ours = all(layer.media_type == DOCKER_LAYER for layer in layers)
        if not ours:
            layers = [_as_oci(layer) for layer in layers]
        kind = DOCKER_CONFIG if ours else OCI_CONFIG
        size = self._source.content.size(image.id)
        return compose(Descriptor(digest=image.id, size=size, media_type=kind), layers)


class Known:
    """What the images that are here tell about the registry of ``name``: which blobs may be in which repositories,
    and what layers became when they were compressed."""

    def __init__(self, source: Source, name: Reference) -> None:
        self._content = source.content
        self._places: dict[str, dict[str, None]] = {}
        self.compressed: dict[str, Descriptor] = {}
        for image in source.records.every():
            digests = [layer.digest for layer in image.layers]
            if (made := self.manifest(image.pushed)) and len(made.layers) == len(image.layers):
                digests += [layer.digest for layer in made.layers]
                for layer, packed in zip(image.layers, made.layers, strict=True):
                    if packed.digest != layer.digest:
                        self.compressed.setdefault(layer.diff_id, packed)
            others = [parse(each) for each in image.repo_digests]
            for digest in digests:
                paths = [each.path for each in others if each.domain == name.domain and each.path != name.path]
                self._places.setdefault(digest, {}).update(dict.fromkeys(paths))

    def manifest(self, digest: str) -> Manifest | None:
        """One that was kept."""
        if not digest or not self._content.has(digest):
            return None
        found = kept(self._content, digest).read()
        return found if isinstance(found, Manifest) else None

    def repositories(self, digest: str) -> list[str]:
        return list(self._places.get(digest, {}))[:3]


def _manifest_of(image: Image, known: Known) -> Manifest | None:
    """The one that it was pulled with, as long as its layers are kept as they came."""
    found = known.manifest(image.manifest)
    if found is None or [each.digest for each in found.layers] != [each.digest for each in image.layers]:
        return None
    return found


def _compression(content: ContentStore, digest: str) -> str:
    with content.reader(digest) as blob:
        return recognise(blob.read(HEAD))


def _as_oci(layer: Descriptor) -> Descriptor:
    kind = OCI_LAYER + "+gzip" if layer.media_type == DOCKER_LAYER else layer.media_type
    return Descriptor(digest=layer.digest, size=layer.size, media_type=kind)
