"""Namespaces that containers share: whose they are, and the ``/dev/shm`` that goes with an IPC namespace.

A container that may be joined (``--ipc shareable``) has its ``/dev/shm`` mounted in its bundle, where those that join
it can find it; everybody else's is made inside, where nobody can.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.errors import Conflict, Invalid
from sampan.linux import mounts, views
from sampan.types import Container, Status
from sampan.undo import Undo

_SHM = "shm"
_HOSTS = Path("/dev/shm")
_SAFE = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


def running(parts: Parts, mode: str, what: str) -> Container:
    """The container of ``container:ID``. ``Conflict`` if it does not run, ``NotFound`` if there is none."""
    other = parts.registry.find(mode.partition(":")[2]).record
    if other.state.status is Status.RESTARTING:
        raise Conflict(f"Container {other.id} is restarting, wait until the container is running")
    if other.state.status not in ALIVE:
        if what == "network":
            raise Conflict(f"cannot join network of a non running container: {other.id}")
        raise Conflict(f"failed to join {what} namespace: container {other.id} is not running")
    return other


def owners(record: Container) -> list[str]:
    """The ids of the containers whose namespaces it joins."""
    modes = (record.host_config[key].partition(":") for key in ("NetworkMode", "PidMode", "IpcMode"))
    return [ident for kind, _, ident in modes if kind == "container"]


def _namespace(other: Container, what: str, kind: str, held: ExitStack) -> Path:
    """The file of a running container's namespace, which is no other one until ``held`` lets go of it: meanwhile its
    process may end, and its pid go to another one."""
    try:
        fd = views.namespace_of(other.state.pid, other.state.monitor, kind)
    except ProcessLookupError:
        raise Conflict(f"failed to join {what} namespace: container {other.id} is not running") from None
    held.callback(os.close, fd)
    return Path(f"/proc/{os.getpid()}/fd/{fd}")


def pid_namespace(parts: Parts, record: Container, held: ExitStack) -> Path | None:
    """The file of the PID namespace to join, if any; good until ``held`` is closed."""
    mode = record.host_config["PidMode"]
    if not mode.startswith("container:"):
        return None
    return _namespace(running(parts, mode, "PID"), "PID", "pid", held)


def ipc_namespace(parts: Parts, record: Container, undo: Undo, held: ExitStack) -> tuple[Path | None, Path | None]:
    """The file of the IPC namespace to join, if any, and what is to be mounted on ``/dev/shm``; None if the container
    makes that for itself alone. Good until ``held`` is closed. ``Invalid`` if its owner keeps it to itself."""
    mode = record.host_config["IpcMode"]
    if mode == "shareable":
        ids = parts.ids_of(record).root
        return None, _mounted(parts.bundle(record.id), record.host_config["ShmSize"], ids, undo)
    if mode == "host":
        return None, _HOSTS
    if not mode.startswith("container:"):
        return None, None
    other = running(parts, mode, "IPC")
    run = msgspec.structs.replace(other, state=msgspec.structs.replace(other.state))
    memory = os.open(_memory_of(parts, other), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, memory)
    # It lives still: what was opened is of the same run.
    return _namespace(run, "IPC", "ipc", held), Path(f"/proc/{os.getpid()}/fd/{memory}")


def _memory_of(parts: Parts, other: Container) -> Path:
    mode = other.host_config["IpcMode"]
    if mode == "host":
        return _HOSTS
    if mode.startswith("container:"):  # the mount of the one that it has joined, which may have ended since
        return _memory_of(parts, running(parts, mode, "IPC"))
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
