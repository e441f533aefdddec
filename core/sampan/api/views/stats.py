"""A container's counters as ``ContainerStatsResponse``.

As Docker does, what version 2 of cgroups cannot say is left out there; a container that does not run has only zeros,
and one without a network namespace of its own has no ``networks``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sampan.api.times import NEVER
from sampan.api.views import host
from sampan.drivers.types import Stats
from sampan.types import Container


def stats(container: Container, now: Stats | None, read: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """``now`` is None when the container does not run; ``before`` is the entry that was sent before this one."""
    entry: dict[str, Any] = {
        "name": "/" + container.name,
        "id": container.id,
        "read": read if now else NEVER,
        "preread": before["read"] if before else NEVER,
        "num_procs": 0,
        "pids_stats": {},
        "storage_stats": {},
        "blkio_stats": dict.fromkeys(_BLOCK_IO),
        "cpu_stats": _cpu(None),
        "precpu_stats": before["cpu_stats"] if before else _cpu(None),
        "memory_stats": {},
    }
    if now is None:
        return entry
    if _has_networks(container):
        entry["networks"] = _networks(container.state.pid)
    entry["pids_stats"] = {"current": now.pids, **_pids_limit(now.pids_limit)}
    entry["blkio_stats"] = {**entry["blkio_stats"], **now.block_io}
    entry["cpu_stats"] = _cpu(now)
    entry["memory_stats"] = _memory(now)
    return entry


def _pids_limit(limit: int) -> dict[str, int]:
    """No limit is nothing in version 1 and the largest number in version 2."""
    if limit >= 0:
        return {"limit": limit}
    return {"limit": 2**64 - 1} if host.cgroup_version() == "2" else {}


def _memory(now: Stats) -> dict[str, Any]:
    """Without a limit of its own a container can use the host's memory."""
    most = host.memory()
    limit = min(now.memory_limit, most) if now.memory_limit >= 0 else most
    entry: dict[str, Any] = {"usage": now.memory, "stats": now.memory_stat, "limit": limit}
    if host.cgroup_version() == "1":
        entry["max_usage"], entry["failcnt"] = now.memory_max, now.memory_failures
    elif now.memory_failures:
        entry["failcnt"] = now.memory_failures
    return entry


def _cpu(now: Stats | None) -> dict[str, Any]:
    """``system_cpu_usage`` is all CPUs' time of the host, in nanoseconds: the CLI divides by it."""
    if now is None:
        usage = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
        return {"cpu_usage": usage, "throttling_data": dict.fromkeys(_THROTTLING, 0)}
    per_cpu = {"percpu_usage": list(now.per_cpu_ns)} if now.per_cpu_ns else {}
    return {
        "cpu_usage": {
            "total_usage": now.cpu_ns,
            **per_cpu,
            "usage_in_kernelmode": now.cpu_system_ns,
            "usage_in_usermode": now.cpu_user_ns,
        },
        "system_cpu_usage": _time_of_host(),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": now.periods,
            "throttled_periods": now.throttled_periods,
            "throttled_time": now.throttled_ns,
        },
    }


def _has_networks(container: Container) -> bool:
    """One that shares another's network namespace has that one's, which may be the host's."""
    mode = container.host_config["NetworkMode"]
    if not mode.startswith("container:"):
        return mode not in ("host", "none")
    try:
        return not Path(f"/proc/{container.state.pid}/ns/net").samefile("/proc/self/ns/net")
    except OSError:  # it has just ended
        return False


def _networks(pid: int) -> dict[str, dict[str, int]]:
    """The counters of the network namespace of ``pid``, by interface, without loopback (proc(5), /proc/pid/net/dev).

    Nobody has to enter the namespace for this.
    """
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    except OSError:  # it has just ended
        return {}
    found = {}
    for name, _, counters in (line.partition(":") for line in lines):
        numbers = [int(number) for number in counters.split()]
        ways = {"rx": numbers[:4], "tx": numbers[8:12]}
        found[name.strip()] = {
            f"{way}_{what}": count
            for way, counts in ways.items()
            for what, count in zip(("bytes", "packets", "errors", "dropped"), counts, strict=True)
        }
    found.pop("lo", None)
    return found


def _time_of_host() -> int:
    """proc(5): the first seven fields of /proc/stat's ``cpu`` line are times in clock ticks that do not overlap."""
    with open("/proc/stat", encoding="ascii") as stat:  # noqa: PTH123 - read once a second per watched container
        ticks = sum(int(field) for field in stat.readline().split()[1:8])
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


_BLOCK_IO = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
_THROTTLING = ("periods", "throttled_periods", "throttled_time")
