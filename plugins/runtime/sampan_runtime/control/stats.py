"""A container's counters, from the files of cgroup version 1 or 2.

Sources: the kernel's admin-guide/cgroup-v1 (cpuacct.rst, memory.rst, pids.rst) and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
from typing import Any

from sampan.drivers.types import Stats
from sampan.linux import cgroups
from sampan_runtime.control.groups import Groups

_UNLIMITED = 1 << 62  # version 1 says "no limit" with the largest number of whole pages
_TICK_NS = 10_000_000  # USER_HZ is 100 on every architecture that Linux runs containers on (time(7))


def read(groups: Groups, container: str) -> Stats:
    """All counters now. ``FileNotFoundError`` if the container has no groups."""
    cpu = _cpu_1(groups, container) if groups.has("cpuacct") else _cpu_2(groups, container)
    memory = _memory_1(groups, container) if groups.has("memory") else _memory_2(groups, container)
    return Stats(**cpu, **memory, **_pids(groups, container), block_io=_block_io(groups, container))


def _cpu_1(groups: Groups, container: str) -> dict[str, Any]:
    def text(controller: str, name: str) -> str:
        return cgroups.read(groups.file(controller, container, name))

    ticks = _pairs(text("cpuacct", "cpuacct.stat"))
    throttling = _pairs(text("cpu", "cpu.stat"))
    return {
        "cpu_ns": int(text("cpuacct", "cpuacct.usage")),
        "cpu_user_ns": ticks.get("user", 0) * _TICK_NS,
        "cpu_system_ns": ticks.get("system", 0) * _TICK_NS,
        "per_cpu_ns": tuple(int(word) for word in text("cpuacct", "cpuacct.usage_percpu").split()),
        "periods": throttling.get("nr_periods", 0),
        "throttled_periods": throttling.get("nr_throttled", 0),
        "throttled_ns": throttling.get("throttled_time", 0),
    }


def _cpu_2(groups: Groups, container: str) -> dict[str, Any]:
    found = _pairs(cgroups.read(groups.file("cpu", container, "cpu.stat")))
    return {
        "cpu_ns": found.get("usage_usec", 0) * 1000,
        "cpu_user_ns": found.get("user_usec", 0) * 1000,
        "cpu_system_ns": found.get("system_usec", 0) * 1000,
        "periods": found.get("nr_periods", 0),
        "throttled_periods": found.get("nr_throttled", 0),
        "throttled_ns": found.get("throttled_usec", 0) * 1000,
    }


def _memory_1(groups: Groups, container: str) -> dict[str, Any]:
    def text(name: str) -> str:
        return cgroups.read(groups.file("memory", container, name))

    return {
        "memory": int(text("memory.usage_in_bytes")),
        "memory_max": int(text("memory.max_usage_in_bytes")),
        "memory_limit": _limit(text("memory.limit_in_bytes")),
        "memory_failures": int(text("memory.failcnt")),
        "memory_stat": _pairs(text("memory.stat")),
        "oom_kills": _pairs(text("memory.oom_control")).get("oom_kill", 0),
    }


def _memory_2(groups: Groups, container: str) -> dict[str, Any]:
    def text(name: str, otherwise: str = "0") -> str:
        try:
            return cgroups.read(groups.file("memory", container, name))
        except FileNotFoundError:
            return otherwise  # the controller is not handed down here, or the kernel is older than the file

    events = _pairs(text("memory.events", ""))
    return {
        "memory": int(text("memory.current")),
        "memory_max": int(text("memory.peak")),
        "memory_limit": _limit(text("memory.max", "max")),
        "memory_failures": events.get("oom", 0),
        "memory_stat": _pairs(text("memory.stat", "")),
        "oom_kills": events.get("oom_kill", 0),
    }


def _pids(groups: Groups, container: str) -> dict[str, Any]:
    try:
        count = int(cgroups.read(groups.file("pids", container, "pids.current")))
        return {"pids": count, "pids_limit": _limit(cgroups.read(groups.file("pids", container, "pids.max")))}
    except FileNotFoundError:
        return {"pids": len(groups.processes(container))}


def _block_io(groups: Groups, container: str) -> dict[str, list[dict[str, Any]]]:
    """Docker's ``blkio_stats`` lists: each entry has ``major``, ``minor``, ``op`` and ``value``.

    Version 2 has bytes alone, as far as Docker's clients expect.
    """
    if not groups.has("blkio"):
        return _block_io_2(groups, container)
    found: dict[str, list[dict[str, Any]]] = {}
    for key, name in (("io_service_bytes_recursive", "io_service_bytes"), ("io_serviced_recursive", "io_serviced")):
        entries = []
        for line in _lines(groups.file("blkio", container, f"blkio.throttle.{name}_recursive")):
            words = line.split()
            if len(words) == 3 and ":" in words[0]:
                major, _, minor = words[0].partition(":")
                entries.append({"major": int(major), "minor": int(minor), "op": words[1], "value": int(words[2])})
        found[key] = entries
    return found


def _block_io_2(groups: Groups, container: str) -> dict[str, list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    for line in _lines(groups.file("io", container, "io.stat")):
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        for field in fields:
            name, _, value = field.partition("=")
            if operation := {"rbytes": "read", "wbytes": "write"}.get(name):
                found.append({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
    return {"io_service_bytes_recursive": found}


def _lines(path: str) -> list[str]:
    try:
        return cgroups.read(path).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno == errno.ENODEV:  # opened while the group was on its way out
            return []
        raise


def _pairs(text: str) -> dict[str, int]:
    return {key: int(value) for key, _, value in (line.partition(" ") for line in text.splitlines()) if value}


def _limit(text: str) -> int:
    text = text.strip()
    return -1 if text == "max" or int(text) >= _UNLIMITED else int(text)
