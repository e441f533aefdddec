"""From an OCI configuration to an order, and what of it this runtime cannot do."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan.errors import Invalid, Unsupported
from sampan.linux import capabilities

SHARED = "its processes, network, users, IPC and host name are this host's; only its files are its own"

_KERNELS = {"/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"}
_COPIED = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
_LARGEST = 1 << 20  # bytes of a file that is copied
_WAYS_OUT = "SYS_CHROOT SYS_ADMIN SYS_PTRACE SYS_MODULE SYS_RAWIO SYS_BOOT MKNOD DAC_READ_SEARCH BPF PERFMON"


def process(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The part that is the same for an init and an exec."""
    if wanted.get("terminal"):
        raise refused("a terminal (-t)", "there is no devpts without a mount of its own")
    user, sets = wanted.get("user") or {}, wanted.get("capabilities") or {}
    having = capabilities.permitted() & ~capabilities.mask([f"CAP_{name}" for name in _WAYS_OUT.split()])
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    return {
        "terminal": False,
        "init": False,
        "args": [os.fsencode(each) for each in wanted["args"]],
        "env": {name: value for name, _, value in (os.fsencode(e).partition(b"=") for e in wanted.get("env") or ())},
        "cwd": os.fsencode(wanted.get("cwd") or "/"),
        "uid": user.get("uid", 0),
        "gid": user.get("gid", 0),
        "groups": list(user.get("additionalGids") or ()),
        "umask": user.get("umask", 0o022),
        "capabilities": [capabilities.mask(sets.get(kind) or []) & having for kind in kinds],
        "rlimits": [_rlimit(each) for each in wanted.get("rlimits") or ()],
        "no_new_privileges": bool(wanted.get("noNewPrivileges")),
    }


def check(spec: Mapping[str, Any]) -> None:
    """``Unsupported`` names the first thing that was asked for and cannot be; what everybody gets without asking is
    passed over."""
    linux = spec.get("linux") or {}
    for each in linux.get("namespaces") or ():
        if each["type"] == "network":
            raise refused("a network of its own", "use --network host")
        if each.get("path"):
            raise refused(f"another container's {each['type']} namespace", "there are no namespaces")
    if (spec.get("root") or {}).get("readonly"):
        raise refused("a read-only root (--read-only)", "that takes a mount")
    for name in _limits(linux.get("resources") or {}):
        raise refused(f"a limit ({name})", "nothing counts what it uses")


def files(spec: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """What is copied where others bind."""
    found = []
    for each in spec.get("mounts") or ():
        target = each["destination"]
        if target in _COPIED and each.get("source"):
            with Path(each["source"]).open("rb") as file:
                found.append((os.fsencode(target), file.read(_LARGEST)))
        elif target not in _KERNELS:
            raise refused(f"a mount at {target}", "there are no volumes without mounts of its own; use cp")
    return found


def refused(what: str, why: str) -> Unsupported:
    return Unsupported(f"the chroot runtime isolates the file system only and cannot give a container {what}: {why}")


def _limits(resources: Mapping[str, Any]) -> Iterator[str]:
    for group in ("memory", "cpu", "pids", "blockIO"):
        for name, value in (resources.get(group) or {}).items():
            if value not in (None, 0, -1, "", [], False) and name != "period":
                yield f"{group} {name}"


def _rlimit(wanted: Mapping[str, Any]) -> tuple[int, int, int]:
    number = getattr(resource, wanted["type"], None)
    if number is None:
        raise Invalid(f"unknown resource limit {wanted['type']!r}")
    soft, hard = (-1 if wanted[key] >= 1 << 63 else wanted[key] for key in ("soft", "hard"))
    return number, soft, hard
