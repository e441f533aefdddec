"""Devices: which a container may use, and the host's own for a privileged one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

_HARMLESS = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))
"""null, zero, full, random, urandom, tty, ptmx, pts/* (runtime-spec config-linux.md, "Default Devices")."""

_NOT_WALKED = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})
_NOT_GIVEN = frozenset({"console", "ptmx"})


def rules(*, privileged: bool) -> list[dict[str, Any]]:
    """OCI's ``linux.resources.devices``: nothing but the harmless ones, though any node may be made."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    found: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    found += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for major, minor in _HARMLESS:
        rule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        found.append(rule if minor is None else {**rule, "minor": minor})
    return found


def of_host() -> list[dict[str, Any]]:
    """OCI's ``linux.devices`` for a privileged container: every device node under the host's ``/dev``."""
    found = []
    for directory, names, files in os.walk("/dev"):
        names[:] = [name for name in names if name not in _NOT_WALKED]
        for name in files:
            path = Path(directory, name)
            device = None if name in _NOT_GIVEN else _device(path)
            if device:
                found.append(device)
    return sorted(found, key=lambda device: str(device["path"]))


def _device(path: Path) -> dict[str, Any] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else None
    if kind is None or status.st_rdev == 0:
        return None
    return {
        "path": str(path),
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
