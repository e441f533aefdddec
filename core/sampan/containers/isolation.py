"""What a container's process really has of the machine: read from ``/proc``, not from what was asked for.

See namespaces(7), capabilities(7), proc_pid_status(5), proc_pid_cgroup(5), proc_pid_mountinfo(5), proc_pid_smaps(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from sampan.errors import Conflict
from sampan.linux import capabilities, namespaces, paths

_SECCOMP = {"0": "off", "1": "strict", "2": "filter"}
_SETS = {
    "Effective": "CapEff",
    "Permitted": "CapPrm",
    "Inheritable": "CapInh",
    "Bounding": "CapBnd",
    "Ambient": "CapAmb",
}
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mounted(msgspec.Struct, frozen=True, rename="pascal"):
    """``options`` are those of this mount, ``super_options`` its file system's, wherever it is mounted;
    ``propagation``: shared, slave, private …"""

    target: str
    type: str
    source: str
    options: list[str]
    super_options: list[str]
    propagation: str


class Isolation(msgspec.Struct, kw_only=True, rename="pascal"):
    """``namespaces``: ``own``, or ``host`` for the daemon's, by type as OCI names them. ``limits``: soft and hard.
    ``helpers``: processes beside the container's that it keeps busy (its monitor, and what a runtime leaves there);
    ``overhead``: bytes that they have to themselves."""

    pid: int
    namespaces: dict[str, str]
    capabilities: dict[str, list[str]]
    seccomp: str
    seccomp_filters: int
    no_new_privileges: bool
    user: str
    groups: list[int]
    user_map: list[str]
    group_map: list[str]
    cgroups: dict[str, str]
    mounts: list[Mounted]
    limits: dict[str, str]
    label: str
    oom_score_adjust: int
    devices: list[str]
    interfaces: list[str]
    helpers: list[str]
    overhead: int


def look(pid: int, monitor: int, processes: Collection[int]) -> Isolation:
    """``processes`` are the container's own. ``Conflict`` if it ends meanwhile."""
    try:
        return _look(Path(f"/proc/{pid}"), monitor, processes)
    except (FileNotFoundError, ProcessLookupError):
        raise Conflict(f"process {pid} has ended while it was looked at") from None


def _look(proc: Path, monitor: int, processes: Collection[int]) -> Isolation:
    status = _fields((proc / "status").read_text())
    helpers = [pid for pid in _family(monitor) if pid not in processes]
    return Isolation(
        pid=int(proc.name),
        namespaces={
            name: _whose(proc, file) for name, file in namespaces.FILES.items() if (proc / "ns" / file).exists()
        },
        capabilities={name: _names(int(status[field], 16)) for name, field in _SETS.items()},
        seccomp=_SECCOMP.get(status.get("Seccomp", "0"), "unknown"),
        seccomp_filters=int(status.get("Seccomp_filters", "0")),
        no_new_privileges=status.get("NoNewPrivs") == "1",
        user=":".join((status["Uid"].split()[1], status["Gid"].split()[1])),
        groups=[int(group) for group in status["Groups"].split()],
        user_map=_lines(proc / "uid_map"),
        group_map=_lines(proc / "gid_map"),
        cgroups=dict(_cgroups((proc / "cgroup").read_text())),
        mounts=[_mount(line) for line in (proc / "mountinfo").read_text(errors="replace").splitlines()],
        limits=dict(_limits((proc / "limits").read_text())),
        label=_label(proc),
        oom_score_adjust=int((proc / "oom_score_adj").read_text()),
        devices=_devices(proc),
        interfaces=sorted(line.partition(":")[0].strip() for line in _lines(proc / "net" / "dev")[2:]),
        helpers=[name for pid in helpers if (name := _name(pid))],
        overhead=sum(map(_own_memory, helpers)),
    )


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def _whose(proc: Path, file: str) -> str:
    return "host" if (proc / "ns" / file).readlink() == Path(f"/proc/self/ns/{file}").readlink() else "own"


def _names(mask: int) -> list[str]:
    known = [name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1]
    beyond = [str(number) for number in range(len(capabilities.NAMES), mask.bit_length()) if mask >> number & 1]
    return known + beyond


def _lines(path: Path) -> list[str]:
    return [" ".join(line.split()) for line in path.read_text().splitlines()]


def _cgroups(text: str) -> Iterator[tuple[str, str]]:
    """By controller, or ``v2`` for the unified hierarchy."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        yield controllers or "v2", path


def _mount(line: str) -> Mounted:
    before, _, after = line.partition(" - ")
    fields, rest = before.split(), after.split(" ")
    kinds = sorted(field.partition(":")[0] for field in fields[6:])
    return Mounted(
        target=_plain(fields[4]),
        type=rest[0],
        source=_plain(rest[1]),
        options=fields[5].split(","),
        super_options=_plain(rest[2]).split(","),
        propagation=" ".join(kinds) or "private",
    )


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def _limits(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines()[1:]:
        yield line[:26].strip(), " ".join(line[26:68].split())


def _label(proc: Path) -> str:
    """Of SELinux or AppArmor; nothing where there is neither."""
    try:
        return (proc / "attr" / "current").read_text().strip("\0\n ")
    except OSError:
        return ""


def _devices(proc: Path) -> list[str]:
    """Below ``/dev`` of its own root, whatever its image has put there."""
    root = os.open(proc / "root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        directory = paths.open_in_root(root, b"/dev", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    finally:
        os.close(root)
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - by its descriptor
    finally:
        os.close(directory)


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid] if pid else []
    for each in found:  # it grows
        try:
            text = Path(f"/proc/{each}/task/{each}/children").read_text()
        except OSError:  # it has gone
            continue
        found += [int(child) for child in text.split()]
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _own_memory(pid: int) -> int:
    """Bytes that no other process shares: what would be free without it."""
    try:
        fields = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0
    return sum(int(fields.get(name, "0").split()[0]) << 10 for name in ("Private_Clean", "Private_Dirty"))
