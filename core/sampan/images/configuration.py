"""An image's configuration as this engine writes it, and the history that can be read from one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sampan.images.manifests import architecture
from sampan.types import Layer

EPOCH = "1970-01-01T00:00:00Z"


def now() -> str:
    """RFC 3339 with nanoseconds and ``Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def compose(
    config: dict[str, Any],
    diff_ids: list[str],
    *,
    created: str,
    history: list[dict[str, Any]],
    machine: str = "",
    variant: str = "",
) -> bytes:
    """The configuration of a new image, as bytes that depend on nothing but the arguments and this machine's kind.

    https://github.com/opencontainers/image-spec/blob/main/config.md
    """
    document = {
        "architecture": machine or architecture(),
        "config": config,
        "created": created,
        "history": history,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        **({"variant": variant} if variant else {}),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def seconds(timestamp: str) -> int:
    """Unix time of an RFC 3339 string, with as many digits of the second as it likes; 0 if it is none."""
    try:
        return int(datetime.fromisoformat(_microseconds(timestamp)).timestamp())
    except (ValueError, OverflowError):
        return 0


def history(config: dict[str, Any], layers: list[Layer], made: list[tuple[str, list[str]]]) -> list[dict[str, Any]]:
    """Docker's ``HistoryResponseItem`` for every step, the newest first; sizes are those of the unpacked layers.

    ``made``: id and tags of the image, of the one that it was made of by its last step, and so on."""
    remaining = iter(layers)
    rows = []
    for step in _steps(config, layers):
        layer = None if step.get("empty_layer") else next(remaining, None)
        rows.append(
            {
                "Id": "<missing>",
                "Created": seconds(step.get("created") or ""),
                "CreatedBy": step.get("created_by") or "",
                "Tags": None,
                "Size": layer.size if layer else 0,
                "Comment": step.get("comment") or "",
            }
        )
    rows.reverse()
    for row, (ident, tags) in zip(rows, made, strict=False):
        row.update(Id=ident, Tags=tags or None)
    return rows


def _steps(config: dict[str, Any], layers: list[Layer]) -> list[dict[str, Any]]:
    """The steps as recorded; an image without a record of them has one per layer."""
    return config.get("history") or [{"created": config.get("created")} for _ in range(len(layers) or 1)]


def _microseconds(timestamp: str) -> str:
    """Python reads at most six digits of a second's fraction; Go writes up to nine."""
    head, dot, rest = timestamp.partition(".")
    if not dot:
        return timestamp
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[: min(digits, 6)]:0<6}{rest[digits:]}"
