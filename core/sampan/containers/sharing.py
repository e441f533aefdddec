"""Namespaces that containers share: whose they are, and the ``/dev/shm`` that goes with an IPC namespace.

A container that may be joined (``--ipc shareable``) has its ``/dev/shm`` mounted in its bundle, where those that join
it can find it; everybody else's is made inside, where nobody can.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sampan.containers.parts import Parts
from sampan.containers.transitions import ALIVE
from sampan.errors import Conflict, Invalid
from sampan.linux import mounts
from sampan.types import Container
from sampan.undo import Undo

_SHM = "shm"
_HOSTS = Path("/dev/shm")
_SAFE = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


def running(parts: Parts, mode: str, what: str) -> Container:
    """The container of ``container:ID``. ``Conflict`` if it does not run, ``NotFound`` if there is none."""
    other = parts.registry.find(mode.partition(":")[2]).record
    if other.state.status not in ALIVE:
        if what == "network":
            raise Conflict(f"cannot join network of a non running container: {other.id}")
        raise Conflict(f"failed to join {what} namespace: container {other.id} is not running")
    return other


def pid_namespace(parts: Parts, record: Container) -> Path | None:
    """The file of the PID namespace to join, if any."""
    mode = record.host_config["PidMode"]
    if not mode.startswith("container:"):
        return None
    return Path(f"/proc/{running(parts, mode, 'PID').state.pid}/ns/pid")


def ipc_namespace(parts: Parts, record: Container) -> Path | None:
    """The file of the IPC namespace to join, if any. ``Invalid`` if its owner keeps it to itself."""
    mode = record.host_config["IpcMode"]
    if not mode.startswith("container:"):
        return None
    return Path(f"/proc/{running(parts, mode, 'IPC').state.pid}/ns/ipc")


def memory(parts: Parts, record: Container, undo: Undo) -> Path | None:
    """What is to be mounted on ``/dev/shm``; None if the container makes one for itself alone."""
    mode = record.host_config["IpcMode"]
    if mode == "shareable":
        return _mounted(parts.bundle(record.id), record.host_config["ShmSize"], parts.ids_of(record).root, undo)
    if mode == "host":
        return _HOSTS
    return _of(parts, running(parts, mode, "IPC")) if mode.startswith("container:") else None


def _of(parts: Parts, other: Container) -> Path:
    mode = other.host_config["IpcMode"]
    if mode == "host":
        return _HOSTS
    if mode.startswith("container:"):  # the mount of the one that it has joined, which may have ended since
        return _of(parts, running(parts, mode, "IPC"))
    place = parts.bundle(other.id) / _SHM
    if mode != "shareable" or not place.is_dir():
        hint = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        raise Invalid(f"failed to join IPC namespace: container {other.id}: {hint}")
    return place


def _mounted(bundle: Path, size: int, owner: tuple[int, int], undo: Undo) -> Path:
    place = bundle / _SHM
    place.mkdir()
    undo.push(_unmount, place)
    options = {"source": _SHM, "mode": "1777", "size": str(size), "uid": str(owner[0]), "gid": str(owner[1])}
    made = mounts.filesystem("tmpfs", options, attributes=mounts.attributes(_SAFE))
    try:
        mounts.attach(made, place)
    finally:
        os.close(made)
    return place


def remove_bundle(bundle: Path) -> None:
    """All that a run had there. Whoever has joined it keeps what it has mounted. Idempotent."""
    _unmount(bundle / _SHM)
    shutil.rmtree(bundle, ignore_errors=True)


def _unmount(place: Path) -> None:
    with suppress(OSError):  # it is not mounted
        mounts.detach(place)
