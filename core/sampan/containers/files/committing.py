"""``commit``: what a container changed as one more layer on its image, frozen meanwhile so that it fits together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sampan.containers.files.ours import without_ours
from sampan.containers.files.view import Views
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.containers.requests import config as merging
from sampan.errors import Conflict, NotFound
from sampan.images import pack
from sampan.images.committing import Wish
from sampan.images.references import parse
from sampan.images.tar_writer import Sink
from sampan.types import Image, Status


def commit(
    parts: Parts,
    views: Views,
    entry: Entry,
    *,
    name: str = "",
    config: dict[str, Any] | None = None,
    instructions: Sequence[str] = (),
    author: str = "",
    comment: str = "",
    pause: bool = True,
) -> Image:
    """The new image. ``name`` is the image's. ``config``: a ``Config`` that the container's is to complete.

    ``Invalid``: the name, an instruction or a key is wrong. ``Conflict``: the container is being removed.
    """
    record = entry.record
    if record.state.status in (Status.REMOVING, Status.DEAD):
        raise Conflict(f"container {record.id} is being removed and cannot be committed")
    wish = Wish(
        config=merging.committed(config, record.config) if config else record.config,
        instructions=list(instructions),
        author=author,
        comment=comment,
        command=" ".join(record.config["Cmd"] or ()),
    )
    parent = parts.images.get(record.image)
    storage = parts.storage(record)
    with views.open(entry, bare=True) as view, frozen(parts, entry, pause):

        def write(out: Sink) -> int:
            return pack.pack(view.root, without_ours(storage.changes(record.root)), out, parts.ids)

        image = parts.images.commit(parent, write, wish, name)
    familiar = parse(name).tagged().familiar() if name else ""
    parts.announce(record, "commit", comment=comment, imageID=image.id, imageRef=familiar)
    return image


@contextmanager
def frozen(parts: Parts, entry: Entry, wanted: bool) -> Iterator[None]:
    """All processes stand still in the block. The record does not say so: should the daemon die, the next one finds a
    container that runs by its record, and thaws it."""
    record = entry.record
    runtime = parts.runtime(record)
    if not wanted or record.state.status is not Status.RUNNING or not runtime.features().pause:
        yield
        return
    with suppress(NotFound):  # it has just ended, and nobody writes any more
        runtime.pause(record.id)
    try:
        yield
    finally:
        with entry.lock:
            if record.state.status is Status.RUNNING:
                runtime.resume(record.id)
