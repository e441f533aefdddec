"""From an OCI runtime configuration to the order that the monitor's half carries out.

Everything that can be worked out ahead is worked out here, in the daemon: names become numbers, texts become bytes,
so that the monitor imports little and the time between fork and execve is short.
"""

from __future__ import annotations

import functools
import os
import resource
from collections.abc import Mapping
from typing import Any

from sampan.drivers.errors import Invalid, Unsupported
from sampan.drivers.types import INIT
from sampan.linux import capabilities, mounts, namespaces
from sampan_runtime.native.rootfs import DEVICES

_FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "relatime": mounts.MS_RELATIME,
    "strictatime": mounts.MS_STRICTATIME,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}
_CLEARING = {
    "rw": mounts.MS_RDONLY,
    "suid": mounts.MS_NOSUID,
    "dev": mounts.MS_NODEV,
    "exec": mounts.MS_NOEXEC,
}
_PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "slave": mounts.MS_SLAVE,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "shared": mounts.MS_SHARED,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}
_DEVICE_TYPES = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}  # S_IFCHR, S_IFBLK, S_IFIFO


def from_spec(spec: Mapping[str, Any], rootfs: os.PathLike[str], seccomp: bytes | None) -> dict[str, Any]:
    """All of the order but its cgroups. ``Unsupported`` names what the native runtime cannot do."""
    linux = spec.get("linux") or {}
    flags, joins = _namespaces(linux.get("namespaces") or ())
    users = _users(linux)
    root = spec.get("root") or {}
    return {
        **process(spec["process"], seccomp),
        **mappings(linux),
        "users": users,
        "init": (spec.get("annotations") or {}).get(INIT) == "true",
        "rootfs": os.fsencode(rootfs),
        "read_only": bool(root.get("readonly")),
        "flags": flags,
        "joins": joins,
        "hostname": os.fsencode(spec.get("hostname") or ""),
        "domainname": os.fsencode(spec.get("domainname") or ""),
        "propagation": _PROPAGATION[linux.get("rootfsPropagation") or "rprivate"],
        "mounts": [_mount(each) for each in spec.get("mounts") or ()],
        "devices": _devices(linux.get("devices") or ()),
        "masked": [os.fsencode(path) for path in linux.get("maskedPaths") or ()],
        "read_only_paths": [os.fsencode(path) for path in linux.get("readonlyPaths") or ()],
        "sysctl": [
            (os.fsencode("/proc/sys/" + key.replace(".", "/")), str(value))
            for key, value in (linux.get("sysctl") or {}).items()
        ],
    }


_permitted = functools.cache(capabilities.permitted)


def process(wanted: Mapping[str, Any], seccomp: bytes | None) -> dict[str, Any]:
    """The part of an order that says how a process is to be: OCI's ``process`` object."""
    user = wanted.get("user") or {}
    sets = wanted.get("capabilities") or {}
    having = _permitted()  # what this machine does not grant, nobody can be given
    return {
        "terminal": bool(wanted.get("terminal")),
        "args": [os.fsencode(arg) for arg in wanted["args"]],
        "env": dict(_variable(each) for each in wanted.get("env") or ()),
        "cwd": os.fsencode(wanted.get("cwd") or "/"),
        "uid": user.get("uid", 0),
        "gid": user.get("gid", 0),
        "groups": list(user.get("additionalGids") or ()),
        "umask": user.get("umask", 0o022),
        "capabilities": {
            name: capabilities.mask(sets.get(name) or []) & having
            for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
        },
        "rlimits": [_rlimit(each) for each in wanted.get("rlimits") or ()],
        "oom_score_adj": wanted.get("oomScoreAdj"),
        "no_new_privileges": bool(wanted.get("noNewPrivileges")),
        "seccomp": seccomp,
    }


def _variable(text: str) -> tuple[bytes, bytes]:
    name, _, value = os.fsencode(text).partition(b"=")
    return name, value


def _rlimit(wanted: Mapping[str, Any]) -> tuple[int, int, int]:
    number = getattr(resource, wanted["type"], {"RLIMIT_LOCKS": 10}.get(wanted["type"]))  # Python has no name for it
    if number is None:
        raise Invalid(f"unknown resource limit {wanted['type']!r}")
    return number, _signed(wanted["soft"]), _signed(wanted["hard"])


def _signed(limit: int) -> int:
    return -1 if limit >= 1 << 63 else limit


def _namespaces(wanted: Any) -> tuple[int, list[tuple[int, bytes]]]:
    flags, joins = 0, []
    for each in wanted:
        flag = namespaces.FLAGS.get(each["type"])
        if flag == namespaces.CLONE_NEWUSER:
            continue
        if flag is None or flag == namespaces.CLONE_NEWTIME:
            raise Unsupported(f"the native runtime has no {each['type']!r} namespaces yet")
        if each.get("path"):
            joins.append((flag, os.fsencode(each["path"])))
        else:
            flags |= flag
    if not flags & namespaces.CLONE_NEWNS:
        raise Unsupported("the native runtime gives every container a mount namespace of its own")
    return flags, joins


def _users(linux: Mapping[str, Any]) -> bytes | None:
    """The file of the user namespace, if the container is to be in one."""
    for each in linux.get("namespaces") or ():
        if each["type"] == "user":
            if not each.get("path"):
                raise Unsupported("the native runtime makes no user namespaces: it joins one, given by its path")
            return os.fsencode(each["path"])
    return None


def mappings(linux: Mapping[str, Any]) -> dict[str, list[tuple[int, int, int]]]:
    """The ids of that namespace: the first inside, the first on the host, how many."""
    return {
        name: [(each["containerID"], each["hostID"], each["size"]) for each in linux.get(key) or ()]
        for name, key in (("uids", "uidMappings"), ("gids", "gidMappings"))
    }


def _mount(wanted: Mapping[str, Any]) -> tuple[str, bytes, str, int, int, str]:
    """``(kind, target, source, flags, propagation, data)``; kind ``bind`` is a bind mount."""
    flags, propagation, data = 0, 0, []
    for option in wanted.get("options") or ():
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option in _CLEARING:
            flags &= ~_CLEARING[option]
        elif option in _PROPAGATION:
            propagation |= _PROPAGATION[option]
        else:
            data.append(option)
    kind = "bind" if flags & mounts.MS_BIND else wanted.get("type") or "none"
    return kind, os.fsencode(wanted["destination"]), wanted.get("source") or kind, flags, propagation, ",".join(data)


def _devices(wanted: Any) -> list[tuple[bytes, int, int, int, int]]:
    """``(path, mode with type, device number, uid, gid)``, the default ones first."""
    made = {os.fsdecode(each[0]): each for each in DEVICES}
    for each in wanted:
        mode = _DEVICE_TYPES[each["type"]] | each.get("fileMode", 0o666)
        number = os.makedev(each.get("major", 0), each.get("minor", 0))
        path = each["path"]
        made[path] = (os.fsencode(path), mode, number, each.get("uid", 0), each.get("gid", 0))
    return list(made.values())
