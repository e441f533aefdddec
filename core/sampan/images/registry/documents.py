"""What registries keep beside blobs: manifests of images and indexes of manifests, Docker's and the OCI's.

https://github.com/opencontainers/image-spec/blob/main/manifest.md and image-index.md;
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

import json
from typing import Annotated

import msgspec

from sampan.errors import Invalid, NotFound, Unsupported
from sampan.images.archive import JSON_LIMIT, decode
from sampan.images.content import ContentStore, digest_of, hex_of
from sampan.images.manifests import LAYER_LIMIT
from sampan.images.registry import platforms
from sampan.images.registry.platforms import Platform

_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."
OCI_INDEX = _OCI + "index.v1+json"
OCI_MANIFEST = _OCI + "manifest.v1+json"
OCI_CONFIG = _OCI + "config.v1+json"
OCI_LAYER = _OCI + "layer.v1.tar"
DOCKER_INDEX = _DOCKER + "distribution.manifest.list.v2+json"
DOCKER_MANIFEST = _DOCKER + "distribution.manifest.v2+json"
DOCKER_CONFIG = _DOCKER + "container.image.v1+json"
DOCKER_LAYER = _DOCKER + "image.rootfs.diff.tar.gzip"
_SCHEMA_1 = (_DOCKER + "distribution.manifest.v1+json", _DOCKER + "distribution.manifest.v1+prettyjws")
ACCEPTED = [DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX, *_SCHEMA_1]
_CONFIGS = (DOCKER_CONFIG, OCI_CONFIG, "application/octet-stream", "")
_LAYERS = {DOCKER_LAYER, _DOCKER + "image.rootfs.diff.tar", OCI_LAYER, OCI_LAYER + "+gzip", OCI_LAYER + "+zstd"}
_FOREIGN = (_DOCKER + "image.rootfs.foreign", _OCI + "layer.nondistributable")

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class PlatformOf(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    @property
    def normal(self) -> Platform:
        return platforms.normal(self.os, self.architecture, self.variant)


class Descriptor(msgspec.Struct, rename="camel", frozen=True):
    """A blob or a manifest that a document names."""

    digest: str
    size: Count
    media_type: str = ""
    platform: PlatformOf | None = None

    @property
    def short(self) -> str:
        """The twelve digits that Docker shows of it."""
        return self.digest.removeprefix("sha256:")[:12]

    def written(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class Manifest(msgspec.Struct, rename="camel"):
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""


class Index(msgspec.Struct, rename="camel"):
    manifests: list[Descriptor]
    media_type: str = ""


class _Head(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""


class Document(msgspec.Struct, frozen=True):
    """A manifest or an index as a registry gave it. ``name`` is what errors call it; ``digest`` is that of ``data``."""

    data: bytes
    media_type: str
    digest: str
    name: str

    def read(self) -> Manifest | Index:
        """``Unsupported`` for what is no image of a kind that runs here, ``Invalid`` for nonsense."""
        head: _Head = decode(self.data, f"the manifest of {self.name}", _Head)
        kind = head.media_type or self.media_type
        if head.schema_version == 1 or kind in _SCHEMA_1:
            raise Unsupported(
                f"{self.name} is in Docker image manifest version 2, schema 1, a format of before 2017 that is not "
                "supported any more: its author can convert it by pulling and pushing it with Docker 20.10"
            )
        if kind in (OCI_INDEX, DOCKER_INDEX):
            return self._index()
        if kind not in (OCI_MANIFEST, DOCKER_MANIFEST):
            raise Unsupported(f'unsupported manifest media type "{kind[:100]}" of {self.name}: it is no image')
        return self._manifest(head.artifact_type)

    def _index(self) -> Index:
        index: Index = decode(self.data, f"the manifest list of {self.name}", Index)
        for each in index.manifests:
            hex_of(each.digest)
        return index

    def _manifest(self, artifact: str) -> Manifest:
        manifest: Manifest = decode(self.data, f"the manifest of {self.name}", Manifest)
        kind = manifest.config.media_type
        if kind not in _CONFIGS:
            raise Unsupported(
                f'{self.name} is no image: it is an artifact of the type "{(artifact or kind)[:100]}", '
                "and only images can be pulled here"
            )
        if manifest.config.size > JSON_LIMIT:
            raise Invalid(f"the configuration of {self.name} is said to have {manifest.config.size} bytes: too many")
        if len(manifest.layers) > LAYER_LIMIT:
            raise Invalid(f"{self.name} has {len(manifest.layers)} layers, and {LAYER_LIMIT} is the most")
        for each in (manifest.config, *manifest.layers):
            hex_of(each.digest)
        for layer in manifest.layers:
            self._check_layer(layer)
        return manifest

    def _check_layer(self, layer: Descriptor) -> None:
        if layer.media_type.startswith(_FOREIGN):
            raise Unsupported(
                f"layer {layer.short} of {self.name} is a foreign one: it is kept outside of registries, as those of "
                "Windows are, and cannot be pulled"
            )
        if layer.media_type not in _LAYERS:
            raise Unsupported(f'layer {layer.short} of {self.name} has the unknown type "{layer.media_type[:100]}"')


def chosen(index: Index, wanted: Platform, name: str) -> Descriptor:
    """The manifest of an index for a platform. ``NotFound`` in Docker's words if there is none."""
    offered = [(each.platform.normal, each) for each in index.manifests if each.platform is not None]
    found = platforms.choose(wanted, offered)
    if found is None and (plain := [each for each in index.manifests if each.platform is None]):
        found = plain[0]
    if found is None:
        raise NotFound(f"no matching manifest for {wanted} in the manifest list entries of {name}")
    return found


def kept(content: ContentStore, digest: str) -> Document:
    """A manifest that is a blob here. The OCI's may do without their type."""
    with content.reader(digest) as blob:
        data = blob.read()
    head: _Head = decode(data, f"the manifest {digest}", _Head)
    return Document(data, head.media_type or OCI_MANIFEST, digest, digest)


def compose(config: Descriptor, layers: list[Descriptor]) -> Document:
    """The manifest of an image of our own: Docker's schema 2 if its layers' types are Docker's, else the OCI's."""
    kind = OCI_MANIFEST if config.media_type == OCI_CONFIG else DOCKER_MANIFEST
    written = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": config.written(),
        "layers": [layer.written() for layer in layers],
    }
    data = json.dumps(written, indent=3).encode()
    return Document(data, kind, digest_of(data), "")
