"""OCI's resources as writes to cgroup files, version 1 and version 2."""

from __future__ import annotations

from typing import Any

import pytest

from sampan_runtime.control import limits

MB = 1 << 20
DISK = {"major": 8, "minor": 0, "rate": 1000}


def one(resources: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for _, name, value in limits.version_1(resources)]


def two(resources: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for _, name, value in limits.version_2(resources)]


@pytest.mark.parametrize(
    ("resources", "version_1", "version_2"),
    [
        ({}, [], []),
        ({"memory": None, "cpu": None, "pids": None, "blockIO": None, "devices": None}, [], []),
        (
            {"memory": {"limit": 64 * MB}},
            [("memory.limit_in_bytes", str(64 * MB))],
            [("memory.max", str(64 * MB))],
        ),
        (
            {"memory": {"limit": 64 * MB, "swap": 96 * MB}},
            [("memory.limit_in_bytes", str(64 * MB)), ("memory.memsw.limit_in_bytes", str(96 * MB))],
            [("memory.max", str(64 * MB)), ("memory.swap.max", str(32 * MB))],
        ),
        (
            {"memory": {"limit": -1, "swap": -1}},
            [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
            [("memory.max", "max"), ("memory.swap.max", "max")],
        ),
        (
            {"memory": {"reservation": 8 * MB, "swappiness": 0, "disableOOMKiller": True}},
            [("memory.soft_limit_in_bytes", str(8 * MB)), ("memory.swappiness", "0"), ("memory.oom_control", "1")],
            [("memory.low", str(8 * MB))],
        ),
        (
            {"cpu": {"quota": 50_000, "period": 100_000}},
            [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")],
            [("cpu.max", "50000 100000")],
        ),
        ({"cpu": {"quota": -1}}, [("cpu.cfs_quota_us", "-1")], [("cpu.max", "max 100000")]),
        ({"cpu": {"period": 20_000}}, [("cpu.cfs_period_us", "20000")], [("cpu.max", "max 20000")]),
        ({"cpu": {"quota": 20_000}}, [("cpu.cfs_quota_us", "20000")], [("cpu.max", "20000 100000")]),
        (
            {"cpu": {"cpus": "0-1", "mems": "0"}},
            [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
            [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
        ),
        ({"pids": {"limit": 50}}, [("pids.max", "50")], [("pids.max", "50")]),
        ({"pids": {"limit": -1}}, [("pids.max", "max")], [("pids.max", "max")]),
        ({"pids": {"limit": 0}}, [], []),
        (
            {"blockIO": {"throttleReadBpsDevice": [DISK], "throttleWriteIOPSDevice": [DISK]}},
            [("blkio.throttle.read_bps_device", "8:0 1000"), ("blkio.throttle.write_iops_device", "8:0 1000")],
            [("io.max", "8:0 rbps=1000"), ("io.max", "8:0 wiops=1000")],
        ),
    ],
)
def test_resources_become_writes(
    resources: dict[str, Any], version_1: list[tuple[str, str]], version_2: list[tuple[str, str]]
) -> None:
    assert one(resources) == version_1
    assert two(resources) == version_2


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (1, 1), (10**9, 10000)])
def test_shares_become_weights_as_other_runtimes_convert_them(shares: int, weight: int) -> None:
    assert one({"cpu": {"shares": shares}}) == [("cpu.shares", str(shares))]
    assert two({"cpu": {"shares": shares}}) == [("cpu.weight", str(weight))]


@pytest.mark.parametrize(("given", "weight"), [(10, 1), (1000, 10000)])
def test_block_weights_span_the_whole_range(given: int, weight: int) -> None:
    assert one({"blockIO": {"weight": given}}) == [("blkio.weight", str(given)), ("blkio.bfq.weight", str(given))]
    assert two({"blockIO": {"weight": given}}) == [
        ("io.weight", f"default {weight}"),
        ("io.bfq.weight", f"default {given}"),
    ]


def test_weights_of_devices() -> None:
    weight = {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}}
    assert one(weight) == [("blkio.weight_device", "8:0 1000"), ("blkio.bfq.weight_device", "8:0 1000")]
    assert two(weight) == [("io.weight", "8:0 10000"), ("io.bfq.weight", "8:0 1000")]


def test_what_is_said_to_have_no_value_gets_the_kernels_own() -> None:
    nothing = {
        "memory": {"limit": -1, "reservation": -1, "swap": -1},
        "cpu": {"shares": 0, "quota": -1, "period": 100_000, "cpus": "", "mems": ""},
        "pids": {"limit": -1},
        "blockIO": {"weight": 0},
    }
    assert ("cpu.shares", "1024") in one(nothing)
    assert ("cpuset.cpus", "") in one(nothing)
    assert ("blkio.bfq.weight", "100") in one(nothing)
    assert two(nothing) == [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("memory.low", "0"),
        ("cpu.weight", "100"),
        ("cpu.max", "max 100000"),
        ("cpuset.cpus", ""),
        ("cpuset.mems", ""),
        ("pids.max", "max"),
        ("io.weight", "default 100"),
        ("io.bfq.weight", "default 100"),
    ]


def test_real_time_is_version_1s_alone() -> None:
    wanted = {"cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 5000}}
    assert one(wanted) == [("cpu.rt_period_us", "1000000"), ("cpu.rt_runtime_us", "5000")]
    assert two(wanted) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"allow": False, "access": "rwm"}, "a"),
        ({"allow": True, "type": "a"}, "a"),
        ({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}, "c 1:3 rw"),
        ({"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rwm"}, "c 136:* rwm"),
        ({"allow": True, "type": "b"}, "b *:* rwm"),
        ({"allow": True, "type": "c", "major": 0, "minor": 0, "access": "m"}, "c 0:0 m"),
    ],
)
def test_device_rules_are_in_the_kernels_words(rule: dict[str, Any], text: str) -> None:
    assert limits.device(rule) == text


def test_device_rules_keep_their_order() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
    ]
    expected = [("devices.deny", "a"), ("devices.allow", "c 1:3 rwm"), ("devices.deny", "c 1:3 w")]
    assert one({"devices": rules}) == expected


def test_swap_never_becomes_less_than_nothing() -> None:
    assert two({"memory": {"limit": 64 * MB, "swap": 64 * MB}})[-1] == ("memory.swap.max", "0")
