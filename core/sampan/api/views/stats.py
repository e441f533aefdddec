"""A container's counters as ``ContainerStatsResponse``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sampan.api.times import NEVER
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
        "networks": {},
    }
    if now is None:
        return entry
    if container.endpoints and container.host_config["NetworkMode"] not in ("host", "none"):
        entry["networks"] = _networks(container.state.pid)
    entry["pids_stats"] = {"current": now.pids, "limit": now.pids_limit if now.pids_limit >= 0 else 2**64 - 1}
    entry["blkio_stats"] = {**entry["blkio_stats"], **now.block_io}
    entry["cpu_stats"] = _cpu(now)
    entry["memory_stats"] = {
        "usage": now.memory,
        "max_usage": now.memory_max,
        "stats": now.memory_stat,
        "failcnt": now.memory_failures,
        "limit": now.memory_limit if now.memory_limit >= 0 else _memory_of_host(),
    }
    return entry


def _cpu(now: Stats | None) -> dict[str, Any]:
    """``system_cpu_usage`` is all CPUs' time of the host, in nanoseconds: the CLI divides by it."""
    if now is None:
        usage = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
        return {"cpu_usage": usage, "throttling_data": dict.fromkeys(_THROTTLING, 0)}
    return {
        "cpu_usage": {
            "total_usage": now.cpu_ns,
            "percpu_usage": list(now.per_cpu_ns) or None,
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


def _networks(pid: int) -> dict[str, dict[str, int]]:
    """The counters of the network namespace of ``pid``, by interface, without loopback (proc(5), /proc/pid/net/dev)."""
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


def _memory_of_host() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
