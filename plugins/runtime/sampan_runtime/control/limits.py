"""OCI ``linux.resources`` as writes to cgroup files, version 1 and version 2.

Sources: OCI runtime specification, config-linux.md, "Control groups"; the kernel's admin-guide/cgroup-v1 and
admin-guide/cgroup-v2.rst. The conversion of CPU shares to weights is the one that systemd, runc and crun agree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Write = tuple[str, str, str]
"""Controller, file, value."""

OPTIONAL = {
    "memory.memsw.limit_in_bytes": "memory.memsw.limit_in_bytes",
    "memory.swappiness": "memory.swappiness",
    "memory.oom_control": "memory.oom_control",
    "cpu.rt_period_us": "cpu.rt_period_us",
    "cpu.rt_runtime_us": "cpu.rt_runtime_us",
    "blkio.weight": "blkio.weight",
    "blkio.weight_device": "blkio.weight_device",
    "blkio.bfq.weight": "blkio.bfq.io_serviced",
    "blkio.bfq.weight_device": "blkio.bfq.io_serviced",
}
"""Version 1 files that a kernel may have been built without, and the file of the root group that tells;
``sampan info`` tells, as Docker does."""

OPTIONAL_2 = {"memory.swap.max", "io.weight", "io.bfq.weight"}
"""The same of version 2, to be looked for in a group."""

CONTROLLERS_2 = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
"""Those of version 2 that :func:`version_2` writes to."""


def version_1(resources: Mapping[str, Any]) -> Iterator[Write]:
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if memory.get("limit"):
        yield "memory", "memory.limit_in_bytes", str(memory["limit"])
    if memory.get("swap"):
        yield "memory", "memory.memsw.limit_in_bytes", str(memory["swap"])
    if memory.get("reservation"):
        yield "memory", "memory.soft_limit_in_bytes", str(memory["reservation"])
    if memory.get("swappiness") is not None:
        yield "memory", "memory.swappiness", str(memory["swappiness"])
    if memory.get("disableOOMKiller"):
        yield "memory", "memory.oom_control", "1"
    if cpu.get("shares") is not None:
        yield "cpu", "cpu.shares", str(cpu["shares"] or 1024)
    if cpu.get("period"):
        yield "cpu", "cpu.cfs_period_us", str(cpu["period"])
    if cpu.get("quota"):
        yield "cpu", "cpu.cfs_quota_us", str(cpu["quota"])
    if cpu.get("realtimePeriod"):
        yield "cpu", "cpu.rt_period_us", str(cpu["realtimePeriod"])
    if cpu.get("realtimeRuntime") is not None:
        yield "cpu", "cpu.rt_runtime_us", str(cpu["realtimeRuntime"])
    yield from _cpuset(cpu)
    yield from _pids(resources)
    yield from _block_io_1(resources.get("blockIO") or {})
    for rule in resources.get("devices") or ():
        yield "devices", "devices.allow" if rule["allow"] else "devices.deny", device(rule)


def version_2(resources: Mapping[str, Any]) -> Iterator[Write]:
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        yield "memory", "memory.max", _or_max(limit)
    if swap:
        # OCI's swap counts memory and swap together, as version 1 did; version 2's file is swap alone.
        yield "memory", "memory.swap.max", "max" if swap < 0 or not limit else str(max(0, swap - limit))
    if memory.get("reservation"):
        yield "memory", "memory.low", str(max(0, memory["reservation"]))
    if cpu.get("shares") is not None:
        yield "cpu", "cpu.weight", str(_cpu_weight(cpu["shares"]) if cpu["shares"] else _WEIGHT)
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        yield "cpu", "cpu.max", f"{_or_max(quota)} {cpu.get('period') or 100_000}"
    yield from _cpuset(cpu)
    yield from _pids(resources)
    yield from _block_io_2(resources.get("blockIO") or {})


def device(rule: Mapping[str, Any]) -> str:
    """A device rule in the words of cgroup version 1: ``c 1:3 rwm``, with ``*`` for what is not said."""
    if rule.get("type") in (None, "a"):
        return "a"
    numbers = ["*" if number in (None, -1) else str(number) for number in (rule.get("major"), rule.get("minor"))]
    return f"{rule['type']} {':'.join(numbers)} {rule.get('access') or 'rwm'}"


def _cpu_weight(shares: int) -> int:
    """From 2…262144, which version 1 makes of any number, to 1…10000."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _cpuset(cpu: Mapping[str, Any]) -> Iterator[Write]:
    """An empty list is the parent's."""
    if cpu.get("cpus") is not None:
        yield "cpuset", "cpuset.cpus", cpu["cpus"]
    if cpu.get("mems") is not None:
        yield "cpuset", "cpuset.mems", cpu["mems"]


def _pids(resources: Mapping[str, Any]) -> Iterator[Write]:
    limit = (resources.get("pids") or {}).get("limit")
    if limit:
        yield "pids", "pids.max", _or_max(limit)


_THROTTLES = {
    "throttleReadBpsDevice": ("blkio.throttle.read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("blkio.throttle.write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("blkio.throttle.read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("blkio.throttle.write_iops_device", "wiops"),
}


def _block_io_1(block_io: Mapping[str, Any]) -> Iterator[Write]:
    """Weights are the I/O scheduler's business: BFQ has files of its own, with the same range."""
    weight = block_io.get("weight")
    if weight is not None:
        yield "blkio", "blkio.weight", str(weight or 500)
        yield "blkio", "blkio.bfq.weight", str(weight or _WEIGHT)
    for each in block_io.get("weightDevice") or ():
        for name in ("blkio.weight_device", "blkio.bfq.weight_device"):
            yield "blkio", name, f"{each['major']}:{each['minor']} {each['weight']}"
    for key, (name, _) in _THROTTLES.items():
        for each in block_io.get(key) or ():
            yield "blkio", name, f"{each['major']}:{each['minor']} {each['rate']}"


def _block_io_2(block_io: Mapping[str, Any]) -> Iterator[Write]:
    weight = block_io.get("weight")
    if weight is not None:
        yield "io", "io.weight", f"default {_weight_2(weight) if weight else _WEIGHT}"
        yield "io", "io.bfq.weight", f"default {weight or _WEIGHT}"
    for each in block_io.get("weightDevice") or ():
        number = f"{each['major']}:{each['minor']}"
        yield "io", "io.weight", f"{number} {_weight_2(each['weight'])}"
        yield "io", "io.bfq.weight", f"{number} {each['weight']}"
    for key, (_, name) in _THROTTLES.items():
        for each in block_io.get(key) or ():
            yield "io", "io.max", f"{each['major']}:{each['minor']} {name}={each['rate'] or 'max'}"


_WEIGHT = 100
"""What a group has that was given none."""


def _weight_2(weight: int) -> int:
    """From 10…1000 to 1…10000."""
    return 1 + (weight - 10) * 9999 // 990


def _or_max(limit: int) -> str:
    return "max" if limit < 0 else str(limit)
