"""What this kernel can limit: facts found in the mounted cgroup hierarchies, version 1, version 2 or both.

A controller of version 1 counts where it is mounted, one of version 2 where the root group lists it (cgroups(7)).
Files that a kernel may have been built without are looked for: admin-guide/cgroup-v1/{memory,blkio-controller}.rst and
admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sampan.linux import cgroups

_CPUS = "/sys/devices/system/cpu/online"
_NODES = "/sys/devices/system/node/online"


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """Each is true if containers can be limited so. ``cpus`` and ``nodes`` are those of the host that are online, as
    cpuset(7) writes lists."""

    memory: bool = True
    swap: bool = True
    reservation: bool = True
    swappiness: bool = True
    oom_kill_disable: bool = True
    cpu_shares: bool = True
    cpu_quota: bool = True
    cpu_realtime: bool = True
    cpuset: bool = True
    pids: bool = True
    block_weight: bool = True
    block_weight_device: bool = True
    block_throttle: bool = True
    cpus: str = "0"
    nodes: str = "0"


@cache
def of_host() -> Abilities:
    """Looked up once per process: controllers do not come and go."""
    return find(cgroups.hierarchies())


def find(hierarchies: dict[str, str]) -> Abilities:
    """``hierarchies`` are :func:`sampan.linux.cgroups.hierarchies`'."""
    root = hierarchies.get(cgroups.V2, "")
    unified = set(_words(f"{root}/cgroup.controllers")) if root else set()
    swap_2 = "memory" in unified and Path("/proc/swaps").exists()

    def has(controller: str, *files: str) -> bool:
        place = hierarchies.get(controller)
        return place is not None and (not files or any(os.access(f"{place}/{file}", os.F_OK) for file in files))

    return Abilities(
        memory=has("memory") or "memory" in unified,
        swap=has("memory", "memory.memsw.limit_in_bytes") or swap_2,
        reservation=has("memory") or "memory" in unified,
        swappiness=has("memory", "memory.swappiness"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        cpu_shares=has("cpu", "cpu.shares") or "cpu" in unified,
        cpu_quota=has("cpu", "cpu.cfs_quota_us") or "cpu" in unified,
        cpu_realtime=has("cpu", "cpu.rt_runtime_us"),
        cpuset=has("cpuset") or "cpuset" in unified,
        pids=has("pids") or "pids" in unified,
        # The weights themselves are not in the root group; BFQ's counters are.
        block_weight=has("blkio", "blkio.weight", "blkio.bfq.io_serviced") or "io" in unified,
        block_weight_device=has("blkio", "blkio.weight_device", "blkio.bfq.io_serviced") or "io" in unified,
        block_throttle=has("blkio", "blkio.throttle.read_bps_device") or "io" in unified,
        cpus=_line(_CPUS),
        nodes=_line(_NODES),
    )


def _words(path: str) -> list[str]:
    try:
        return cgroups.read(path).split()
    except OSError:
        return []


def _line(path: str) -> str:
    return " ".join(_words(path)) or "0"  # a kernel without NUMA has one node and does not say so
