"""Which changes of a container are the engine's own doing: mount points that its image lacked."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from sampan.drivers.types import Change, ChangeKind

_OURS = frozenset(
    [
        "/dev",
        "/dev/console",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/proc",
        "/sys",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
    ]
)
"""Where the engine mounts something in every container. What is missing of these it makes, as an image would have."""


def without_ours(changes: Iterable[Change]) -> list[Change]:
    """Changes without empty mount points of ours, and without directories that changed for these alone."""
    found = list(changes)
    added = {change.path for change in found if change.kind is ChangeKind.ADDED}
    ours = {path for path in _OURS & added if not any(other.startswith(f"{path}/") for other in added - _OURS)}
    above = {posixpath.dirname(path) for path in ours} - {"/"}
    touched = {posixpath.dirname(change.path) for change in found if change.path not in ours}
    return [
        change
        for change in found
        if change.path not in ours
        and not (change.kind is ChangeKind.MODIFIED and change.path in above and change.path not in touched)
    ]
