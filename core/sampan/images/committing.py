"""An image of another one and a layer on top of it: ``commit``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import msgspec

from sampan.images import changes, configuration
from sampan.images.content import ContentStore
from sampan.images.intake import Intake
from sampan.images.leases import Lease
from sampan.images.records import blobs_of, chains_of
from sampan.types import Image, Layer

KEPT = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"),
    *("Healthcheck", "OnBuild", "Shell", "ArgsEscaped"),
)
"""What of a container's ``Config`` an image's has (OCI image specification, config.md, and Docker's additions)."""


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
    content: ContentStore, intake: Intake, lease: Lease, parent: Image, write: Callable[[BinaryIO], int], wish: Wish
) -> Image:
    """An image whose parts exist; ``write`` writes the layer's tar and returns the bytes of the files in it.

    The layer is kept as a blob; it is unpacked when somebody wants to stand on it."""
    config = wish.applied()
    lease.hold(blobs=blobs_of(parent), chains=chains_of(parent))
    with content.ingest() as ingest:
        size = write(cast(BinaryIO, ingest))
        digest = intake.keep(ingest, lease)
    layers = [*parent.layers, Layer(diff_id=digest, digest=digest, size=size)]
    created = configuration.now()
    step = {"created": created, "created_by": wish.command, "comment": wish.comment, "author": wish.author}
    document = {
        **json.loads(
            configuration.compose(
                config,
                [layer.diff_id for layer in layers],
                created=created,
                history=[*_steps(parent), {key: value for key, value in step.items() if value}],
                machine=str(parent.config.get("architecture") or ""),
            )
        ),
        **({"author": wish.author} if wish.author else {}),
    }
    data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return intake.onto(parent, data, layers, lease)


def _steps(parent: Image) -> list[dict[str, Any]]:
    """The parent's history; one that has none gets a step per layer, for the two must agree."""
    created = parent.config.get("created") or configuration.EPOCH
    return list(parent.config.get("history") or [{"created": created} for _ in parent.layers])
