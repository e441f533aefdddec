"""What an image is as content: its manifest, and the bytes of the blobs that it consists of."""

from __future__ import annotations

import json
from typing import NamedTuple

from sampan.errors import NotFound, Unavailable
from sampan.images import save
from sampan.images.content import ContentStore, digest_of
from sampan.types import Image

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Described(NamedTuple):
    """``digest`` and ``size`` are the manifest's, ``content`` is the bytes of all blobs, its own included."""

    media_type: str
    digest: str
    size: int
    content: int


def describe(content: ContentStore, image: Image) -> Described | None:
    """By the manifest that the image was pulled or pushed with, or else the one that it would be saved with; None if
    its blobs are not kept."""
    try:
        data = _manifest(content, image)
        blobs = {image.id, *(layer.digest for layer in image.layers)}
        total = len(data) + sum(content.size(digest) for digest in blobs)
    except (NotFound, Unavailable, OSError):
        return None
    media_type = str(json.loads(data).get("mediaType") or OCI_MANIFEST)
    return Described(media_type, digest_of(data), len(data), total)


def _manifest(content: ContentStore, image: Image) -> bytes:
    kept = image.manifest or image.pushed
    if not kept:
        return save.manifest(content, image)
    with content.reader(kept) as blob:
        return blob.read()
