"""Removing images as Docker does: names go first, the image with its last name, unless somebody needs it.

The rules and the messages are those of https://github.com/moby/moby/blob/v28.0.0/daemon/images/image_delete.go.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from sampan.errors import Conflict, NotFound
from sampan.images import references
from sampan.images.leases import Leases
from sampan.images.records import Records, blobs_of, chains_of
from sampan.types import Container, Image, Status

ALIVE = (Status.RUNNING, Status.PAUSED, Status.RESTARTING)

Row = dict[str, str]


class Removal:
    """Takes images away, and keeps those that are about to be used. Thread-safe.

    ``users`` tells which containers are made from an image id; it must not wait for this object. ``tell`` publishes
    an event: image, action. ``lock`` is held whenever a record or a name is added or taken.
    """

    def __init__(
        self,
        records: Records,
        leases: Leases,
        users: Callable[[str], list[Container]],
        tell: Callable[[Image, str], None],
    ) -> None:
        self._records = records
        self._leases = leases
        self._users = users
        self._tell = tell
        self._held: Counter[str] = Counter()
        self.lock = threading.RLock()

    def remove(self, reference: str, *, force: bool, prune: bool) -> list[Row]:
        """Remove a name, or with the last name the image. Returns Docker's ``ImageDeleteResponseItem``s."""
        rows: list[Row] = []
        with self.lock:
            image = self._records.get(reference)
            doomed = self._by_id if _is_identifier_of(image, reference) else self._by_name
            gone = doomed(image, reference, rows, force)
        while gone is not None:
            rows.append({"Deleted": gone.id})
            self._tell(gone, "delete")
            rows.extend({"Deleted": f"sha256:{chain}"} for chain in self.collect(gone))
            gone = self._orphaned_parent(gone, rows) if prune else None
        return rows

    @contextmanager
    def holding(self, image: Image) -> Iterator[None]:
        """Nothing of the image goes away inside the block. ``NotFound`` if it is gone already."""
        with self.lock:
            current = self._records.by_id(image.id)
            if current is None or current.removed:
                raise NotFound(f"No such image: {image.id}")
            self._held[image.id] += 1
        try:
            yield
        finally:
            with self.lock:
                self._held[image.id] -= 1
                current = self._records.by_id(image.id)
            if current is not None and current.removed:
                self.collect(current)

    def collect(self, image: Image) -> list[str]:
        """Delete the record of a removed image that nobody uses any more, with all that only it consisted of.

        Returns the chain ids of the layers that went, the topmost first.
        """
        with self._leases.lease() as lease, self.lock:
            current = self._records.by_id(image.id)
            if current is None or not current.removed or self._held[image.id] or self._users(image.id):
                return []
            del self._held[image.id]
            lease.hold(blobs=blobs_of(current), chains=chains_of(current))
            self._records.delete(current.id)
        return lease.removed

    def _by_name(self, image: Image, reference: str, rows: list[Row], force: bool) -> Image | None:
        users = self._users(image.id)
        if users and not force and _in_one_repository(image):
            raise Conflict(
                f'conflict: unable to remove repository reference "{reference}" (must force) - '
                f"container {short(users[0].id)} is using its referenced image {short(image.id)}"
            )
        name = references.parse(reference).tagged()
        image = self._untag(image, [name.without_tag() if name.digest else name], rows)
        if not name.digest and not name.among(image.references):  # the digests were those of its tags
            digests = [references.parse(each) for each in name.among(image.repo_digests)]
            image = self._untag(image, digests, rows, quiet=True)
        if any(references.parse(each).tag for each in image.references) or _other_repositories(image, name):
            return None
        return self._doom(image, rows, force=force, quiet=True)

    def _by_id(self, image: Image, reference: str, rows: list[Row], force: bool) -> Image | None:
        if _in_one_repository(image):
            self._check(image, force=force, names=False)
            image = self._untag(image, [references.parse(each) for each in _names(image)], rows)
        return self._doom(image, rows, force=force, quiet=False)

    def _doom(self, image: Image, rows: list[Row], *, force: bool, quiet: bool) -> Image | None:
        """Take the image from sight. ``quiet``: if somebody needs it, it simply stays, without a name."""
        try:
            self._check(image, force=force, names=True)
        except Conflict:
            if quiet:
                return None
            raise
        image = self._untag(image, [references.parse(each) for each in _names(image)], rows)
        gone = replace(image, removed=True)
        self._records.put(gone)
        return gone

    def _orphaned_parent(self, image: Image, rows: list[Row]) -> Image | None:
        with self.lock:
            parent = self._records.by_id(image.parent)
            if parent is None or parent.removed or _names(parent):
                return None
            return self._doom(parent, rows, force=False, quiet=True)

    def _untag(
        self, image: Image, names: Iterable[references.Reference], rows: list[Row], *, quiet: bool = False
    ) -> Image:
        """``quiet``: as with dockerd, no event tells of digests that go with the last tag of their repository."""
        for name in names:
            image = replace(
                image,
                references=[each for each in image.references if each != str(name)],
                repo_digests=[each for each in image.repo_digests if each != str(name)],
            )
            self._records.put(image)
            if not quiet:
                self._tell(image, "untag")
            rows.append({"Untagged": name.familiar()})
        return image

    def _check(self, image: Image, *, force: bool, names: bool) -> None:
        """``Conflict`` says who needs the image. ``names``: several names are a reason, too."""
        if any(each.parent == image.id and not each.removed for each in self._records.every()):
            raise _conflict(image, "image has dependent child images", hard=True)
        users = self._users(image.id)
        for user in users:
            if user.state.status in ALIVE:
                raise _conflict(image, f"image is being used by running container {short(user.id)}", hard=True)
        if force:
            return
        if names and len(_names(image)) > 1:
            raise _conflict(image, "image is referenced in multiple repositories", hard=False)
        if users:
            raise _conflict(image, f"image is being used by stopped container {short(users[0].id)}", hard=False)


def short(ident: str) -> str:
    """The twelve digits that Docker shows of an id."""
    return ident.removeprefix("sha256:")[:12]


def _names(image: Image) -> list[str]:
    return [*image.references, *image.repo_digests]


def _is_identifier_of(image: Image, text: str) -> bool:
    """Was the image asked for by its id, or the beginning of it?"""
    return image.id.startswith(text) or image.id.removeprefix("sha256:").startswith(text)


def _in_one_repository(image: Image) -> bool:
    """At most one tag, and no name in another repository: then removing by id removes the name as well."""
    parsed = [references.parse(name) for name in _names(image)]
    return len({name.name for name in parsed}) <= 1 and sum(1 for name in parsed if name.tag) <= 1


def _other_repositories(image: Image, name: references.Reference) -> bool:
    return any(references.parse(each).name != name.name for each in _names(image))


def _conflict(image: Image, why: str, *, hard: bool) -> Conflict:
    force = "cannot be forced" if hard else "must be forced"
    return Conflict(f"conflict: unable to delete {short(image.id)} ({force}) - {why}")
