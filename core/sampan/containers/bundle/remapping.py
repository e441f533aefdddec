"""User namespaces of containers, where the engine gives them some (``runtime.userns_remap``).

Each has one of its own, with the same ids; but a container that joins a namespace of another's has to be in the user
namespace that owns it, or it could do nothing with it. What the host's root alone may do is refused, in Docker's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.containers import sharing
from sampan.containers.parts import Parts
from sampan.errors import Conflict, Invalid, Unsupported
from sampan.networks.sandbox import Users
from sampan.types import Container

_JOINED = {"NetworkMode": "network", "PidMode": "PID", "IpcMode": "IPC"}


def check(parts: Parts, record: Container) -> None:
    """``Invalid`` or ``Unsupported`` if a container cannot be as it is wanted with other ids than the host's."""
    if not parts.ids_of(record):
        return
    features = parts.runtime(record).features()
    if not features.user_namespaces:
        why = features.why.get("user_namespaces", "it has no such feature")
        hint = "use --userns=host for this container"
        raise Unsupported(f"the runtime {record.runtime} cannot give a container other user ids: {why} ({hint})")
    _refuse(record.host_config)


def _refuse(host: Mapping[str, Any]) -> None:
    if host["Privileged"]:
        raise Invalid(
            "privileged mode is incompatible with user namespaces. You must run the container in the host namespace "
            "when running privileged mode"
        )
    if host["NetworkMode"] == "host":
        raise Invalid("cannot share the host's network namespace when user namespaces are enabled")
    if host["PidMode"] == "host":
        raise Invalid("cannot share the host PID namespace when user namespaces are enabled")


def users(parts: Parts, record: Container) -> Users:
    """The user namespace to start it in. ``Conflict`` if those that it joins do not have the same one."""
    if not parts.ids_of(record):
        return False
    found: dict[int, Path] = {}
    for key, what in _JOINED.items():
        mode = record.host_config[key]
        if mode.startswith("container:"):
            other = sharing.running(parts, mode, what)
            if not parts.ids_of(other):
                raise Conflict(f"container {other.name} is in the host's user namespace: join it with --userns=host")
            path = Path(f"/proc/{other.state.pid}/ns/user")
            found[path.stat().st_ino] = path
    if len(found) > 1:
        raise Conflict("the containers that are to be joined have user namespaces of their own: join one of them only")
    return next(iter(found.values()), True)


def place(parts: Parts, record: Container, chosen: Users) -> Path | None:
    """The file of the user namespace that was chosen, once the network is there."""
    if isinstance(chosen, Path):
        return chosen
    return parts.networks.user_namespace(record.id) if chosen else None
