"""Volumes: the object that lists and inspection show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.types import Volume


def volume(volume: Volume, mountpoint: Path) -> dict[str, Any]:
    """``Volume`` without ``UsageData``."""
    return {
        "CreatedAt": f"{volume.created[:19]}Z",
        "Driver": volume.driver,
        "Labels": volume.labels or None,
        "Mountpoint": str(mountpoint),
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }


def with_usage(shown: dict[str, Any], size: int, users: int) -> dict[str, Any]:
    """``UsageData``: bytes on disk, and how many containers refer to it."""
    return {**shown, "UsageData": {"RefCount": users, "Size": size}}
