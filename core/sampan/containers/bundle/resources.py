"""A complete ``HostConfig`` as OCI's ``linux.resources`` and ``process.rlimits``.

Source: runtime-spec config-linux.md ("Control groups") and config.md ("POSIX process"). The values were checked when
the container was made or updated (:mod:`sampan.containers.requests.limits`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from sampan.containers.bundle import devices
from sampan.errors import Invalid

PERIOD = 100_000  # microseconds; what --cpus is measured in

THROTTLES = {
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}


def resources(host: Mapping[str, Any]) -> dict[str, Any]:
    """OCI's ``linux.resources`` for a start. Keys without a value are left out.

    ``Invalid`` if a block device is not there any more.
    """
    memory = {**_memory(host), "swappiness": host["MemorySwappiness"], "disableOOMKiller": host["OomKillDisable"]}
    groups = {
        "memory": _given(memory),
        "cpu": _given(_cpu(host)),
        "pids": _given({"limit": max(0, host["PidsLimit"] or 0)}),
        "blockIO": _given({"weight": host["BlkioWeight"], **_devices(host)}, keep=()),
    }
    return {
        "devices": devices.rules(host),
        **{name: group for name, group in groups.items() if group},
    }


def changeable(host: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that ``update`` can change, for a running container: what has no value is said to have none.

    -1 is no limit; a weight of 0 is the kernel's default, an empty list of processors all that there are.
    """
    memory, cpu = _memory(host), _cpu(host)
    return {
        "memory": {key: value or -1 for key, value in memory.items()},
        "cpu": {
            "shares": cpu["shares"] or 0,
            "quota": cpu["quota"] or -1,
            "period": cpu["period"] or PERIOD,
            "realtimePeriod": cpu["realtimePeriod"] or 1_000_000,
            "realtimeRuntime": cpu["realtimeRuntime"] or 0,
            "cpus": cpu["cpus"],
            "mems": cpu["mems"],
        },
        "pids": {"limit": host["PidsLimit"] if (host["PidsLimit"] or 0) > 0 else -1},
        "blockIO": {"weight": host["BlkioWeight"]},
    }


def rlimits(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OCI's ``process.rlimits``; -1 is "unlimited"."""
    return [
        {"type": f"RLIMIT_{u['Name'].upper()}", "soft": amount(u["Soft"]), "hard": amount(u["Hard"])}
        for u in host["Ulimits"] or ()
    ]


def amount(value: int) -> int:
    return value if value >= 0 else 2**64 - 1


def device_number(path: str) -> tuple[int, int]:
    """Major and minor number of a block device. ``Invalid`` if the path is none's."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise Invalid(f"stat {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise Invalid(f"{path!r} is not the path of a block device") from None
    if not stat.S_ISBLK(status.st_mode):
        raise Invalid(f"{path} is not a block device: its reads and writes cannot be limited")
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def _memory(host: Mapping[str, Any]) -> dict[str, Any]:
    return {"limit": host["Memory"], "reservation": host["MemoryReservation"], "swap": host["MemorySwap"]}


def _cpu(host: Mapping[str, Any]) -> dict[str, Any]:
    quota, period = host["CpuQuota"], host["CpuPeriod"]
    if host["NanoCpus"]:
        quota, period = host["NanoCpus"] * PERIOD // 1_000_000_000, PERIOD
    return {
        "shares": host["CpuShares"],
        "quota": quota,
        "period": period,
        "realtimePeriod": host["CpuRealtimePeriod"],
        "realtimeRuntime": host["CpuRealtimeRuntime"],
        "cpus": host["CpusetCpus"],
        "mems": host["CpusetMems"],
    }


def _devices(host: Mapping[str, Any]) -> dict[str, Any]:
    found = {"weightDevice": [{**_numbers(each), "weight": each["Weight"]} for each in host["BlkioWeightDevice"]]}
    for key, name in THROTTLES.items():
        found[name] = [{**_numbers(each), "rate": each["Rate"]} for each in host[key]]
    return found


def _numbers(each: Mapping[str, Any]) -> dict[str, int]:
    major, minor = device_number(each["Path"])
    return {"major": major, "minor": minor}


def _given(group: Mapping[str, Any], keep: Iterable[str] = ("swappiness",)) -> dict[str, Any]:
    """0, false, nothing and an empty list are Docker's ways to say "not given", but for the swappiness."""
    return {key: value for key, value in group.items() if value or (key in keep and value is not None)}
