"""Saving images to an archive that is both a Docker archive and an OCI layout, as Docker writes since version 25.

The same images give the same bytes. Metadata goes first, so that a reader of a stream knows the layers' order early.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from sampan.errors import Unavailable
from sampan.images import references
from sampan.images.compression import HEAD, NONE, recognise
from sampan.images.content import ContentStore, digest_of
from sampan.images.manifests import NAME_ANNOTATION, TAG_ANNOTATION
from sampan.types import Image

_TYPE = "application/vnd.oci.image."
_LAYER_TYPES = {NONE: "layer.v1.tar", "gzip": "layer.v1.tar+gzip", "zstd": "layer.v1.tar+zstd"}


class Chosen(NamedTuple):
    """An image to save, with the normalised names that it is saved under."""

    image: Image
    names: list[str]


def save(content: ContentStore, chosen: Sequence[Chosen], out: BinaryIO) -> None:
    """Write the archive to ``out``, which need not seek. ``Unavailable`` if a layer's blob is not kept."""
    manifests = [manifest(content, each.image) for each in chosen]
    index = {
        "schemaVersion": 2,
        "mediaType": _TYPE + "index.v1+json",
        "manifests": [
            entry for each, data in zip(chosen, manifests, strict=True) for entry in _index_entries(each, data)
        ],
    }
    parents = {each.image.id for each in chosen}
    with tarfile.open(fileobj=out, mode="w|", bufsize=1 << 20, format=tarfile.PAX_FORMAT) as tar:
        _put(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _put(tar, "index.json", _json(index))
        _put(tar, "manifest.json", _json([_docker_entry(each, parents) for each in chosen]))
        if names := _repositories(chosen):
            _put(tar, "repositories", _json(names))
        for name in ("blobs", "blobs/sha256"):
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
        written = {digest_of(data): data for data in manifests}
        for digest, data in written.items():
            _put(tar, _path(digest), data)
        for digest in _blobs(chosen):
            if digest not in written:
                written[digest] = b""
                _copy(tar, content, digest)


def manifest(content: ContentStore, image: Image) -> bytes:
    """The OCI manifest of an image whose blobs are kept."""
    for layer in image.layers:
        if not layer.digest or not content.has(layer.digest):
            raise Unavailable(f"layer {layer.diff_id} of image {image.id} is not kept as a blob, so it cannot be saved")
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": _TYPE + "manifest.v1+json",
            "config": {"mediaType": _TYPE + "config.v1+json", "digest": image.id, "size": content.size(image.id)},
            "layers": [
                {
                    "mediaType": _TYPE + _LAYER_TYPES[_compression(content, layer.digest)],
                    "digest": layer.digest,
                    "size": content.size(layer.digest),
                }
                for layer in image.layers
            ],
        }
    )


def _index_entries(chosen: Chosen, data: bytes) -> Iterator[dict[str, Any]]:
    entry = {"mediaType": _TYPE + "manifest.v1+json", "digest": digest_of(data), "size": len(data)}
    for name in chosen.names:
        yield {**entry, "annotations": {NAME_ANNOTATION: name, TAG_ANNOTATION: references.parse(name).tag}}
    if not chosen.names:
        yield entry


def _docker_entry(chosen: Chosen, parents: set[str]) -> dict[str, Any]:
    return {
        "Config": _path(chosen.image.id),
        "RepoTags": [references.familiar(name) for name in chosen.names] or None,
        "Layers": [_path(layer.digest) for layer in chosen.image.layers],
        **({"Parent": chosen.image.parent} if chosen.image.parent in parents else {}),
    }


def _repositories(chosen: Sequence[Chosen]) -> dict[str, dict[str, str]]:
    """The names and tags alone, each with its topmost layer, where readers of old archives look for them."""
    found: dict[str, dict[str, str]] = {}
    for image, names in chosen:
        for name in map(references.parse, names if image.layers else []):
            found.setdefault(name.familiar_name, {})[name.tag] = image.layers[-1].digest.removeprefix("sha256:")
    return found


def _blobs(chosen: Sequence[Chosen]) -> Iterator[str]:
    for each in chosen:
        yield each.image.id
        yield from (layer.digest for layer in each.image.layers)


def _compression(content: ContentStore, digest: str) -> str:
    with content.reader(digest) as blob:
        return recognise(blob.read(HEAD))


def _copy(tar: tarfile.TarFile, content: ContentStore, digest: str) -> None:
    entry = _entry(_path(digest), tarfile.REGTYPE, 0o644)
    entry.size = content.size(digest)
    with content.reader(digest) as blob:
        tar.addfile(entry, io.BufferedReader(blob, 1 << 20))


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = _entry(name, tarfile.REGTYPE, 0o644)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
