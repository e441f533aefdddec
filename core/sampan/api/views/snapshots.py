"""A snapshot, in the API's spelling."""

from __future__ import annotations

from typing import Any

from sampan.types import Snapshot


def snapshot(found: Snapshot) -> dict[str, Any]:
    """``Size`` in bytes on disk, without what it shares with the image."""
    return {
        "Id": found.id,
        "Name": found.name,
        "Container": found.container,
        "Created": found.created,
        "Size": found.size,
        "Comment": found.comment,
    }
