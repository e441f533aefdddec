"""An image of another one and a layer on top of it: ``commit``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from sampan.images import changes, configuration
from sampan.images.content import ContentStore
from sampan.images.intake import Intake
from sampan.images.leases import Lease
from sampan.images.records import blobs_of, chains_of
from sampan.images.tar_writer import Sink
from sampan.types import Image, Layer

KEPT = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"),
    *("Healthcheck", "OnBuild", "Shell", "ArgsEscaped"),
)
"""What of a container's ``Config`` an image's has (OCI image specification, config.md, and Docker's additions)."""


EMPTY = 1024
"""Bytes of a tar in which nothing is: its end (POSIX, pax)."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """``config`` is the container's ``Config``; ``instructions`` are Dockerfile instructions to apply to it."""

    config: dict[str, Any]
    instructions: list[str] = []
    author: str = ""
    comment: str = ""
    command: str = ""

    def applied(self) -> dict[str, Any]:
        """The image's ``config``. ``Invalid`` names an instruction that is wrong."""
        kept = {key: self.config[key] for key in KEPT if self.config.get(key)}
        return changes.apply(kept, self.instructions)


def commit(
    content: ContentStore, intake: Intake, lease: Lease, parent: Image, write: Callable[[Sink], int], wish: Wish
) -> Image:
    """An image whose parts exist; ``write`` writes the layer's tar and returns the bytes of the files in it.

    The layer is kept as a blob; it is unpacked when somebody wants to stand on it. Where nothing was changed, there is
    none."""
    config = wish.applied()
    lease.hold(blobs=blobs_of(parent), chains=chains_of(parent))
    with content.ingest() as ingest:
        with ingest.filling() as put:  # hashes beside that
            size = write(_Sink(put))
        changed = ingest.size > EMPTY
        made = [intake.keep(ingest, lease)] if changed else []
    layers = [*parent.layers, *(Layer(diff_id=digest, digest=digest, size=size) for digest in made)]
    created = configuration.now()
    step = {"created": created, "created_by": wish.command, "comment": wish.comment, "author": wish.author}
    empty = {} if changed else {"empty_layer": True}
    document = {
        **json.loads(
            configuration.compose(
                config,
                [layer.diff_id for layer in layers],
                created=created,
                history=[*_steps(parent), {key: value for key, value in step.items() if value} | empty],
                machine=str(parent.config.get("architecture") or ""),
                variant=str(parent.config.get("variant") or ""),
            )
        ),
        **({"author": wish.author} if wish.author else {}),
    }
    data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return intake.onto(parent, data, layers, lease)


class _Sink:
    """What a layer is written to."""

    def __init__(self, put: Callable[[memoryview], None]) -> None:
        self._put = put

    def write(self, data: bytes, /) -> None:
        self._put(memoryview(data))


def _steps(parent: Image) -> list[dict[str, Any]]:
    """The parent's history; one that has none gets a step per layer, for the two must agree."""
    created = parent.config.get("created") or configuration.EPOCH
    return list(parent.config.get("history") or [{"created": created} for _ in parent.layers])
