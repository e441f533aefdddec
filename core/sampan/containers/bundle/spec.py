"""From a container to its OCI runtime configuration (runtime-spec config.md, config-linux.md), as Docker would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sampan.containers.bundle import capabilities, devices, mounts, resources, seccomp
from sampan.containers.bundle.users import User
from sampan.containers.requests import security
from sampan.drivers.types import INIT
from sampan.linux.idmaps import SAME, IdMap, Range
from sampan.types import Container, Mount

VERSION = "1.2.0"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERM = "TERM=xterm"  # what Docker tells a process of its terminal


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found out before the spec can be written.

    ``files`` are mounted on paths such as ``/etc/hosts``. ``network`` is a network namespace's file; without one the
    container gets a new, empty namespace if ``own_network``, and the host's otherwise. ``pid`` and ``ipc`` are files of
    namespaces to join, ``memory`` is what others see as ``/dev/shm``, too. ``places`` are parts of volumes on the host,
    by target. ``ids`` are those of the user namespace ``users``, where the container has one. ``linked`` are variables
    that tell of links.
    """

    rootfs: Path
    user: User
    files: Mapping[str, Path]
    network: Path | None
    own_network: bool
    pid: Path | None = None
    ipc: Path | None = None
    memory: Path | None = None
    places: Mapping[str, Path] = {}
    ids: IdMap = SAME
    users: Path | None = None
    linked: Sequence[str] = ()


def build(container: Container, around: Surroundings) -> dict[str, Any]:
    """The whole configuration. It shares nothing that could be changed with the container's record."""
    config, host = container.config, container.host_config
    spec: dict[str, Any] = {
        "ociVersion": VERSION,
        "process": process(container, around.user, own_environment(container, around.linked)),
        "root": {"path": str(around.rootfs), "readonly": host["ReadonlyRootfs"]},
        "mounts": _mounts(container, around),
        "linux": _linux(container, around),
    }
    if host["UTSMode"] != "host":
        spec["hostname"] = config["Hostname"]
        if config["Domainname"]:
            spec["domainname"] = config["Domainname"]
    annotations = {**(host.get("Annotations") or {}), **({INIT: "true"} if has_init(host) else {})}
    if annotations:
        spec["annotations"] = annotations
    return spec


def has_init(host: Mapping[str, Any]) -> bool:
    """As with Docker, only where it would be process 1."""
    return bool(host["Init"]) and not host["PidMode"]


def process(container: Container, user: User, environment: Sequence[str]) -> dict[str, Any]:
    """OCI's ``process`` for the container's own command."""
    config, host = container.config, container.host_config
    granted = capabilities.chosen(host["CapAdd"], host["CapDrop"], privileged=host["Privileged"])
    return {
        "terminal": config["Tty"],
        "args": [container.path, *container.args],
        "env": with_home(environment, user),
        "cwd": config["WorkingDir"] or "/",
        "user": oci_user(user),
        "capabilities": capability_sets(granted, user),
        "rlimits": resources.rlimits(host),
        "noNewPrivileges": security.parse(host["SecurityOpt"]).no_new_privileges,
        "oomScoreAdj": host["OomScoreAdj"],
    }


def oci_user(user: User) -> dict[str, Any]:
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}


def capability_sets(granted: Sequence[str], user: User) -> dict[str, list[str]]:
    """Root has them all; anybody else gets none, but can gain those in the bounding set by executing a file."""
    held = list(granted) if user.uid == 0 else []
    return {"bounding": list(granted), "effective": held, "permitted": held, "inheritable": [], "ambient": []}


def own_environment(container: Container, linked: Sequence[str] = ()) -> list[str]:
    """The environment of every process of the container: Docker's variables, those of its links, then the user's."""
    config = container.config
    basis = [f"PATH={PATH}", f"HOSTNAME={config['Hostname']}"] + [TERM] * config["Tty"]
    return merged_environment(basis, [*linked, *config["Env"]])


def merged_environment(basis: Sequence[str], more: Sequence[str]) -> list[str]:
    """``more`` wins; a name without ``=`` in it takes the variable away."""
    variables = {variable.partition("=")[0]: variable for variable in basis}
    for variable in more:
        name, equals, _ = variable.partition("=")
        if equals:
            variables[name] = variable
        else:
            variables.pop(name, None)
    return list(variables.values())


def with_home(environment: Sequence[str], user: User) -> list[str]:
    if any(variable.startswith("HOME=") for variable in environment):
        return list(environment)
    return [*environment, f"HOME={user.home}"]


def _linux(container: Container, around: Surroundings) -> dict[str, Any]:
    host = container.host_config
    linux: dict[str, Any] = {
        "namespaces": _namespaces(host, around),
        "resources": resources.resources(host),
        "sysctl": _sysctls(host, own_network=around.own_network, ids=around.ids),
        "devices": devices.nodes(host),
        "maskedPaths": list(host["MaskedPaths"] or ()),
        "readonlyPaths": list(host["ReadonlyPaths"] or ()),
        "rootfsPropagation": _root_propagation(container),
    }
    if host["CgroupParent"]:
        linux["cgroupsPath"] = f"{host['CgroupParent'].rstrip('/')}/{container.id}"
    filtered = seccomp_for(host)
    if filtered is not None:
        linux["seccomp"] = filtered
    if around.users:
        linux["namespaces"].append({"type": "user", "path": str(around.users)})
        linux["uidMappings"], linux["gidMappings"] = _mappings(around.ids.uids), _mappings(around.ids.gids)
    return linux


def _mappings(ranges: Sequence[Range]) -> list[dict[str, int]]:
    return [{"containerID": each.inside, "hostID": each.outside, "size": each.size} for each in ranges]


def seccomp_for(host: Mapping[str, Any]) -> dict[str, Any] | None:
    """OCI's ``linux.seccomp``, None for no filter. Raises ``Invalid`` for a profile that is none."""
    wanted = security.parse(host["SecurityOpt"]).seccomp
    if wanted == "unconfined" or (host["Privileged"] and wanted == "default"):
        return None
    granted = capabilities.chosen(host["CapAdd"], host["CapDrop"], privileged=host["Privileged"])
    return seccomp.default(granted) if wanted == "default" else seccomp.resolve(wanted, granted)


def _namespaces(host: Mapping[str, Any], around: Surroundings) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{"type": "mount"}]
    if around.network:
        found.append({"type": "network", "path": str(around.network)})
    elif around.own_network:
        found.append({"type": "network"})
    joined = {"pid": around.pid, "ipc": around.ipc}
    for kind, key in (("uts", "UTSMode"), ("ipc", "IpcMode"), ("cgroup", "CgroupnsMode"), ("pid", "PidMode")):
        if path := joined.get(kind):
            found.append({"type": kind, "path": str(path)})
        elif host[key] != "host":
            found.append({"type": kind})
    return found


def _sysctls(host: Mapping[str, Any], *, own_network: bool, ids: IdMap) -> dict[str, str]:
    """Docker's two that save containers from needing NET_RAW and NET_BIND_SERVICE, then the user's."""
    groups = f"0 {ids.largest_group()}"
    free = {"net.ipv4.ping_group_range": groups, "net.ipv4.ip_unprivileged_port_start": "0"}
    return {**(free if own_network else {}), **host["Sysctls"]}


def _root_propagation(container: Container) -> str:
    """The root must let through what a mount on it lets through."""
    kinds = {mount.propagation.removeprefix("r") for mount in container.mounts}
    return "rshared" if "shared" in kinds else "rslave" if "slave" in kinds else "rprivate"


def _mounts(container: Container, around: Surroundings) -> list[dict[str, Any]]:
    """The basic ones; then the engine's files and the user's mounts, parents before what lies in them."""
    host = container.host_config
    taken = {mount.target for mount in container.mounts}
    basic = [
        mount
        for mount in _basic_mounts(host, around.memory, remapped=bool(around.users))
        if mount["destination"] not in taken and not ("/dev" in taken and mount["destination"].startswith("/dev/"))
    ]
    sealed = ["ro"] if host["ReadonlyRootfs"] else []
    own = [
        {"destination": target, "type": "bind", "source": str(path), "options": ["rbind", "rprivate", *sealed]}
        for target, path in around.files.items()
        if target not in taken and not _shut_out(target, container.mounts, around.places)
    ]
    users = [mounts.oci(mount, around.places) for mount in container.mounts]
    return basic + sorted(own + users, key=lambda mount: mounts.depth(mount["destination"]))


def _shut_out(target: str, users: Sequence[Mount], places: Mapping[str, Path]) -> bool:
    """Would it lie in a mount that is read-only and has no such file to mount it on?"""
    above = [mount for mount in users if target.startswith(f"{mount.target}/")]
    if not above or not above[-1].read_only or above[-1].type == "tmpfs":
        return False
    mount = above[-1]
    return not (places.get(mount.target, Path(mount.source)) / target[len(mount.target) + 1 :]).exists()


def _basic_mounts(host: Mapping[str, Any], memory: Path | None, *, remapped: bool) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    cautious = [] if host["Privileged"] else ["ro"]
    writable = security.parse(host["SecurityOpt"]).writable_cgroups
    basic = [
        _basic("/proc", "proc", "proc", safe),
        _basic("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _basic("/dev/pts", "devpts", "devpts", [*safe[:2], "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _basic("/sys", "sysfs", "sysfs", [*safe, *cautious]),
        _basic("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, *(cautious if writable is None else [])]),
    ]
    if writable is False:
        basic[-1]["options"].append("ro")
    if not (remapped and host["IpcMode"] == "host"):  # only root of the IPC namespace that it shows may mount it
        basic.append(_basic("/dev/mqueue", "mqueue", "mqueue", safe))
    if memory:
        basic.append(_basic("/dev/shm", "bind", str(memory), ["rbind", "rprivate"]))
    elif host["IpcMode"] != "none":
        basic.append(_basic("/dev/shm", "tmpfs", "shm", [*safe, "mode=1777", f"size={host['ShmSize']}"]))
    return basic


def _basic(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}
