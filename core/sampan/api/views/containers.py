"""Containers: an entry of a list, the whole object, and how a state is told in words."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Mapping
from typing import Any

from sampan.api.times import NEVER, SECOND, in_words, nanoseconds, or_never, seconds
from sampan.api.views import endpoints
from sampan.api.views.endpoints import FindNetwork
from sampan.containers.health import healthcheck
from sampan.types import Container, Mount, State, Status

Sizes = tuple[int, int]
"""Bytes of the writable layer, and of the whole root."""

RUNNING = frozenset({Status.RUNNING, Status.PAUSED, Status.RESTARTING})
"""What counts as running everywhere in Docker."""


def summary(container: Container, image: str, find: FindNetwork, sizes: Sizes | None) -> dict[str, Any]:
    """``ContainerSummary``. ``image`` is the name to show."""
    entry = {
        "Id": container.id,
        "Names": ["/" + container.name],
        "Image": image,
        "ImageID": container.image,
        "Command": command(container),
        "Created": seconds(container.created),
        "Ports": endpoints.port_list(container),
        "Labels": container.config.get("Labels") or {},
        "State": str(container.state.status),
        "Status": status(container.state),
        "Cause": cause(container.state),  # ours, as are the two below
        "Runtime": container.runtime,
        "StorageDriver": container.storage_driver,
        "HostConfig": {
            key: container.host_config[key] for key in ("NetworkMode", "Annotations") if key in container.host_config
        },
        "NetworkSettings": {
            "Networks": {name: endpoints.settings(container, e, find) for name, e in container.endpoints.items()}
        },
        "Mounts": mounts(container),
    }
    if sizes:
        entry["SizeRw"], entry["SizeRootFs"] = sizes
    return entry


def inspect(
    container: Container,
    find: FindNetwork,
    execs: list[str],
    paths: Mapping[str, str],
    sizes: Sizes | None,
    root: Mapping[str, str],
    sandbox: str = "",
) -> dict[str, Any]:
    """``ContainerInspectResponse``. ``paths`` are those of the files that the engine makes for the container, ``root``
    is what its storage driver tells; ``sandbox`` is the path of its network namespace."""
    entry: dict[str, Any] = {
        "Id": container.id,
        "Created": or_never(container.created),
        "Path": container.path,
        "Args": list(container.args),
        "State": state(container.state),
        "Image": container.image,
        "ResolvConfPath": paths.get("resolv.conf", ""),
        "HostnamePath": paths.get("hostname", ""),
        "HostsPath": paths.get("hosts", ""),
        "LogPath": "" if container.host_config.get("LogConfig", {}).get("Type") == "local" else container.log_path,
        "Name": "/" + container.name,
        "RestartCount": container.restart_count,
        "Driver": container.storage_driver,
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs or None,
        "HostConfig": container.host_config,
        "GraphDriver": {"Name": container.storage_driver, "Data": dict(root)},
        "Mounts": mounts(container),
        "Config": container.config | _wide_mac(container),
        "NetworkSettings": endpoints.network_settings(container, find, sandbox),
    }
    if sizes:
        entry["SizeRw"], entry["SizeRootFs"] = sizes
    return entry


def _wide_mac(container: Container) -> dict[str, str]:
    """Which address was asked for on the first network, where older clients look for it."""
    first = next(iter(container.endpoints.values()), None)
    return {"MacAddress": first.requested_mac} if first and first.requested_mac else {}


def state(state: State) -> dict[str, Any]:
    """``ContainerState``."""
    now = state.status
    health = {"Health": healthcheck.told(state.health)} if state.health else {}
    return {
        "Status": str(now),
        "Running": now in RUNNING,
        "Paused": now is Status.PAUSED,
        "Restarting": now is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": now is Status.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at or NEVER,
        "FinishedAt": state.finished_at or NEVER,
        **health,
        "Cause": cause(state),  # ours
    }


def cause(state: State) -> str:
    """Why it ended the last time."""
    return ": ".join(part for part in (state.cause, state.cause_detail) if part)


def status(state: State) -> str:
    """``Up 3 seconds``, ``Exited (0) 5 minutes ago``: what ``docker ps`` prints."""
    now = state.status
    if now in (Status.RUNNING, Status.PAUSED):
        return f"Up {_since(state.started_at)}{' (Paused)' if now is Status.PAUSED else _health(state)}"
    if now is Status.RESTARTING:
        return f"Restarting ({state.exit_code}) {_since(state.finished_at)} ago"
    if now is Status.REMOVING:
        return "Removal In Progress"
    if now is Status.DEAD:
        return "Dead"
    if not state.started_at and now is Status.CREATED:
        return "Created"
    return f"Exited ({state.exit_code}) {_since(state.finished_at)} ago" if state.finished_at else "Exited"


def _health(state: State) -> str:
    if state.health is None:
        return ""
    return f" ({'health: ' if state.health.status == 'starting' else ''}{state.health.status})"


def command(container: Container) -> str:
    return " ".join([container.path, *(f"'{arg}'" if " " in arg else arg for arg in container.args)])


def mounts(container: Container) -> list[dict[str, Any]]:
    """Those of ``--tmpfs`` are told in ``HostConfig.Tmpfs`` alone."""
    temporary = {posixpath.normpath(target) for target in container.host_config.get("Tmpfs") or ()}
    return [mount(m) for m in container.mounts if m.target not in temporary]


def mount(mount: Mount) -> dict[str, Any]:
    """``MountPoint``."""
    point = {
        "Type": mount.type,
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": not mount.read_only,
        "Propagation": mount.propagation or ("rprivate" if mount.type == "bind" else ""),
    }
    if mount.name:
        return {"Name": mount.name, "Driver": mount.driver or "local", **point}
    return point


def _since(moment: str) -> str:
    return in_words(time.time() - nanoseconds(moment) / SECOND) if moment else in_words(0)
