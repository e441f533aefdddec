"""OCI runtime configurations for the suite's containers: what the engine writes, in small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
"""
CAPABILITIES = [f"CAP_{name}" for name in _NAMES.split()]
"""The set that Docker gives by default."""

MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
PATH = "PATH=/bin"


def command(
    *args: str,
    process: Mapping[str, Any] | None = None,
    linux: Mapping[str, Any] | None = None,
    mounts: Sequence[Mapping[str, Any]] = (),
    **parts: Any,
) -> dict[str, Any]:
    """A configuration that runs ``args``.

    ``process`` and ``linux`` are laid over the parts of these names, ``parts`` over the whole; ``mounts`` come after
    the usual ones. The network namespace's path is for whoever starts it to fill in.
    """
    return {
        "ociVersion": "1.2.0",
        "process": process_of(*args, **(process or {})),
        "root": {"path": "", "readonly": False},
        "hostname": "boat",
        "mounts": [*_mounts(), *map(dict, mounts)],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "uts", "ipc", "pid", "cgroup", "network")],
            "resources": {"devices": _device_rules()},
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
            **(linux or {}),
        },
        **parts,
    }


def process_of(*args: str, **changes: Any) -> dict[str, Any]:
    """OCI's ``process``, as root with Docker's default capabilities."""
    held = {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")}
    return {
        "args": list(args),
        "env": [PATH],
        "cwd": "/",
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "capabilities": held,
        **changes,
    }


def limits(**resources: Any) -> dict[str, Any]:
    """The ``linux`` part that sets these ``resources`` beside the usual rules for devices."""
    return {"resources": {"devices": _device_rules(), **resources}}


def _mounts() -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    return [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", [*safe[:2], "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/sys", "sysfs", "sysfs", [*safe, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "ro"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
        _mount("/dev/shm", "tmpfs", "shm", [*safe, "mode=1777", "size=67108864"]),
    ]


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _device_rules() -> list[dict[str, Any]]:
    """Nothing but making nodes, the memory devices, terminals and those of the container's own devpts."""
    return [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        *(_allowed(major, minor) for major, minor in _DEVICES),
    ]


_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))


def _allowed(major: int, minor: int | None) -> dict[str, Any]:
    rule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
    return rule if minor is None else {**rule, "minor": minor}
