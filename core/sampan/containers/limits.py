"""A container's limits: which values make sense, and the same as OCI's ``linux.resources`` and ``process.rlimits``.

Source: runtime-spec config-linux.md ("Control groups") and config.md ("POSIX process"); Docker's own ranges.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.containers import devices
from sampan.containers.request import HostConfig
from sampan.errors import Invalid, Unsupported

LEAST_MEMORY = 6 << 20
PERIOD = 100_000  # microseconds; what --cpus is measured in
_RLIMITS = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
RLIMITS = frozenset(_RLIMITS.split())


def check(host: HostConfig) -> list[str]:
    """Refuse limits that cannot be (``Invalid``); returns warnings. Fills in what follows from the others."""
    _check_memory(host)
    _check_cpu(host)
    if host.BlkioWeight and not 10 <= host.BlkioWeight <= 1000:
        raise Invalid("Range of blkio weight is from 10 to 1000")
    if not -1000 <= host.OomScoreAdj <= 1000:
        raise Invalid(f"Invalid value {host.OomScoreAdj}, range for oom score adj is [-1000, 1000]")
    if host.ShmSize < 0:
        raise Invalid("SHM size can not be less than 0")
    if host.IOMaximumBandwidth or host.IOMaximumIOps:
        raise Invalid("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")
    if host.PidsLimit is not None and not -1 <= host.PidsLimit <= 4_194_304:
        raise Invalid(f"invalid pids limit {host.PidsLimit}, range is from 1 to 4194304, 0 or -1 for no limit")
    for limit in host.Ulimits:
        if limit.Name not in RLIMITS:
            raise Invalid(f"invalid ulimit type: {limit.Name}, expected one of {', '.join(sorted(RLIMITS))}")
        if _amount(limit.Soft) > _amount(limit.Hard):
            raise Invalid(f"ulimit soft limit must be less than or equal to hard limit: {limit.Soft} > {limit.Hard}")
    return _warnings(host)


def _check_memory(host: HostConfig) -> None:
    if host.Memory and host.Memory < LEAST_MEMORY:
        raise Invalid("Minimum memory limit allowed is 6MB")
    if host.MemoryReservation and host.MemoryReservation < LEAST_MEMORY:
        raise Invalid("Minimum memory reservation allowed is 6MB")
    if host.Memory and host.MemoryReservation > host.Memory:
        raise Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.MemorySwap < -1:
        raise Invalid(f"invalid memory swap limit {host.MemorySwap}, expected bytes, or -1 for no limit")
    if host.MemorySwap > 0 and not host.Memory:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < host.MemorySwap < host.Memory:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if host.MemorySwappiness == -1:
        host.MemorySwappiness = None
    if host.MemorySwappiness is not None and not 0 <= host.MemorySwappiness <= 100:
        raise Invalid(f"Invalid value: {host.MemorySwappiness}, valid memory swappiness range is 0-100")
    if host.Memory and not host.MemorySwap:
        host.MemorySwap = min(2 * host.Memory, 2**63 - 1)


def _check_cpu(host: HostConfig) -> None:
    if host.NanoCpus and host.CpuPeriod:
        raise Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.NanoCpus and host.CpuQuota:
        raise Invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    count = os.cpu_count() or 1
    if host.NanoCpus and not 10_000_000 <= host.NanoCpus <= count * 1_000_000_000:
        raise Invalid(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host.CpuPeriod and not 1000 <= host.CpuPeriod <= 1_000_000:
        raise Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if host.CpuQuota < -1 or 0 < host.CpuQuota < 1000:
        raise Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.CpuQuota > 2**44:
        raise Invalid(f"CPU cfs quota can not be larger than {2**44} microseconds")
    if host.CpuShares < 0:
        raise Invalid(f"invalid CPU shares ({host.CpuShares}): value must be a positive integer")
    if host.CpuRealtimePeriod or host.CpuRealtimeRuntime:
        raise Unsupported("real-time CPU limits are not supported")
    _check_set(host.CpusetCpus, "/sys/devices/system/cpu/online", "cpuset cpus", "CPUs")
    _check_set(host.CpusetMems, "/sys/devices/system/node/online", "cpuset mems", "memory nodes")


def _check_set(text: str, online: str, key: str, noun: str) -> None:
    if not text:
        return
    wanted = numbers(text)
    if not wanted:
        raise Invalid(f"Invalid value {text} for {key}")
    try:
        there = Path(online).read_text().strip()
    except OSError:
        there = "0"
    if not wanted <= numbers(there):
        raise Invalid(f"Requested {noun} are not available - requested {text}, available: {there}")


def numbers(text: str) -> frozenset[int]:
    """``0-2,7`` as a set (cpuset(7), "List format"); empty if it is none, or counts beyond 8191."""
    result: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        ends = (low, high or low)
        if not all(end.isascii() and end.isdigit() and len(end) < 5 and int(end) < 8192 for end in ends):
            return frozenset()
        if int(ends[0]) > int(ends[1]):
            return frozenset()
        result.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(result)


def _warnings(host: HostConfig) -> list[str]:
    warnings = []
    if host.OomKillDisable and not host.Memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
            "running out of resources."
        )
    if host.CpuPercent:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        host.CpuPercent = 0
    if host.KernelMemoryTCP:
        warnings.append("a limit of kernel memory for TCP is not supported by this kernel. Limitation discarded.")
        host.KernelMemoryTCP = 0
    return warnings


def resources(host: Mapping[str, Any]) -> dict[str, Any]:
    """OCI's ``linux.resources`` for a complete ``HostConfig``. Keys without a value are left out."""
    memory = {
        "limit": host["Memory"] or None,
        "reservation": host["MemoryReservation"] or None,
        "swap": host["MemorySwap"] or None,
        "swappiness": host["MemorySwappiness"],
        "disableOOMKiller": host["OomKillDisable"] or None,
    }
    quota, period = host["CpuQuota"] or None, host["CpuPeriod"] or None
    if host["NanoCpus"]:
        quota, period = host["NanoCpus"] * PERIOD // 1_000_000_000, PERIOD
    cpu = {
        "shares": host["CpuShares"] or None,
        "quota": quota,
        "period": period,
        "cpus": host["CpusetCpus"] or None,
        "mems": host["CpusetMems"] or None,
    }
    pids = {"limit": host["PidsLimit"] if (host["PidsLimit"] or 0) > 0 else None}
    groups = {"memory": memory, "cpu": cpu, "pids": pids, "blockIO": {"weight": host["BlkioWeight"] or None}}
    given = {name: {key: value for key, value in group.items() if value is not None} for name, group in groups.items()}
    return {
        "devices": devices.rules(privileged=host["Privileged"]),
        **{name: group for name, group in given.items() if group},
    }


def rlimits(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OCI's ``process.rlimits``; -1 is "unlimited"."""
    return [
        {"type": f"RLIMIT_{u['Name'].upper()}", "soft": _amount(u["Soft"]), "hard": _amount(u["Hard"])}
        for u in host["Ulimits"] or ()
    ]


def _amount(value: int) -> int:
    return value if value >= 0 else 2**64 - 1
