"""The images that are known: records, the names that point at them, and finding one by what a person types."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from sampan.errors import NotFound
from sampan.images import references
from sampan.images.configuration import now
from sampan.images.layers import chain_ids
from sampan.images.leases import Used
from sampan.state import State
from sampan.types import Image

TABLE = "images"


class Records:
    """Thread-safe. Records are replaced, never changed in place, so whoever holds one may read it without a lock."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.RLock()
        self._images: dict[str, Image] = {}
        self._needed = _Needed()

    def open(self) -> None:
        self._images = self._state.load(TABLE, Image)
        self._needed = _Needed(self._images.values())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is put and deleted inside becomes visible to other threads and durable together, or not at all."""
        with self._lock:
            before = dict(self._images)
            try:
                with self._state.transaction():
                    yield
            except BaseException:
                self._images = before
                self._needed = _Needed(before.values())
                raise

    def every(self) -> list[Image]:
        """All records, those of removed images too."""
        with self._lock:
            return list(self._images.values())

    def visible(self) -> list[Image]:
        """What the user sees, the newest first."""
        shown = [image for image in self.every() if not image.removed]
        return sorted(shown, key=lambda image: (image.created, image.id), reverse=True)

    def by_id(self, ident: str) -> Image | None:
        with self._lock:
            return self._images.get(ident)

    def ancestry(self, image: Image) -> list[Image]:
        """The image, the one that it was made of, and so on, as far as they are here."""
        line = [image]
        with self._lock:
            while (below := self._images.get(line[-1].parent)) and not below.removed and below not in line:
                line.append(below)
        return line

    def get(self, reference: str) -> Image:
        """By name, tag, digest, id or the unique beginning of an id. ``NotFound`` in Docker's words."""
        digits = references.identifier(reference)
        if digits and len(digits) == 64:
            found = self.by_id("sha256:" + digits)
            if found is None or found.removed:
                raise NotFound(f"No such image: sha256:{digits}")
            return found
        name = references.parse(reference).tagged()
        found = self.named(name) or self._by_prefix(digits)
        if found is None:
            raise NotFound(f"No such image: {name.familiar()}")
        return found

    def named(self, name: references.Reference) -> Image | None:
        """The image that a normalised name points at."""
        wanted = str(name.without_tag()) if name.digest else str(name)
        for image in self.every():
            if wanted in image.references or wanted in image.repo_digests:
                return image
        return None

    def put(self, image: Image) -> None:
        with self.transaction():
            self._state.put(TABLE, image.id, image)
            self._needed.count(self._images.get(image.id), -1)
            self._needed.count(image, 1)
            self._images[image.id] = image

    def delete(self, ident: str) -> None:
        with self.transaction():
            self._state.delete(TABLE, ident)
            self._needed.count(self._images.pop(ident, None), -1)

    def point(self, name: str, ident: str) -> Image | None:
        """Make a normalised name point at an image; returns the image that it is taken from, if it is another."""
        with self.transaction():
            before = self.named(references.parse(name))
            if before is not None and before.id == ident:
                return None
            if before is not None:
                self.put(replace(before, references=[each for each in before.references if each != name]))
            image = self._images[ident]
            self.put(replace(image, references=sorted({*image.references, name}), tagged_at=now()))
            return before

    def point_digest(self, name: str, ident: str) -> bool:
        """The same for ``NAME@DIGEST``, under which an image was pulled or pushed; False if it was so before."""
        with self.transaction():
            if name in self._images[ident].repo_digests:
                return False
            for image in self.every():
                if name in image.repo_digests:
                    self.put(replace(image, repo_digests=[each for each in image.repo_digests if each != name]))
            image = self._images[ident]
            self.put(replace(image, repo_digests=sorted({*image.repo_digests, name})))
            return True

    def used(self) -> Used:
        """The blobs and layers that the records speak for."""
        with self._lock:
            return Used(set(self._needed.blobs), set(self._needed.chains))

    def needs_blob(self, digest: str) -> bool:
        with self._lock:
            return digest in self._needed.blobs

    def needs_chain(self, chain: str) -> bool:
        with self._lock:
            return chain in self._needed.chains

    def _by_prefix(self, digits: str | None) -> Image | None:
        if not digits:
            return None
        found = [image for image in self.visible() if image.id.startswith("sha256:" + digits)]
        return found[0] if len(found) == 1 else None


class _Needed:
    """How many images need each blob and each layer: counted as they come and go, for there may be thousands."""

    def __init__(self, images: Iterable[Image] = ()) -> None:
        self.blobs: Counter[str] = Counter()
        self.chains: Counter[str] = Counter()
        for image in images:
            self.count(image, 1)

    def count(self, image: Image | None, by: int) -> None:
        if image is None:
            return
        for counter, names in ((self.blobs, blobs_of(image)), (self.chains, chains_of(image))):
            for name in names:
                counter[name] += by
                if not counter[name]:
                    del counter[name]


def blobs_of(image: Image) -> list[str]:
    """Digests of the blobs that an image consists of."""
    layers = (layer.digest for layer in image.layers)
    return [digest for digest in (image.id, *layers, image.manifest, image.pushed) if digest]


def chains_of(image: Image) -> list[str]:
    """Chain ids of its layers, the lowest first."""
    return chain_ids([layer.diff_id for layer in image.layers])


def familiar_names(names: Iterable[str]) -> list[str]:
    return [references.familiar(name) for name in names]
