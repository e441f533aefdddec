"""Limits on kernels that lack something, and limits in OCI's words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sampan import bodies
from sampan.containers.bundle import resources
from sampan.containers.requests import limits, request
from sampan.errors import Invalid
from sampan.linux.abilities import Abilities
from sampan.types import Container
from unit.containers.container_house import house

MB = 1 << 20
DISK = {"Path": "/dev/disk", "Rate": 5}


def checked(able: dict[str, Any], **wanted: Any) -> tuple[dict[str, Any], list[str]]:
    host = bodies.read(wanted, request.HostConfig)
    warnings = limits.check(host, Abilities(**{"cpus": "0-3", "nodes": "0", **able}))
    return {name: getattr(host, name) for name in wanted}, warnings


@pytest.mark.parametrize(
    ("lacks", "wanted", "left", "warning"),
    [
        (
            "memory",
            {"Memory": 8 * MB},
            {"Memory": 0},
            "memory limit capabilities or the cgroup is not mounted. Limitation",
        ),
        (
            "swap",
            {"Memory": 8 * MB, "MemorySwap": 9 * MB},
            {"MemorySwap": -1},
            "swap limit capabilities or the cgroup is",
        ),
        ("reservation", {"MemoryReservation": 8 * MB}, {"MemoryReservation": 0}, "memory soft limit capabilities"),
        ("swappiness", {"MemorySwappiness": 5}, {"MemorySwappiness": None}, "memory swappiness capabilities"),
        ("oom_kill_disable", {"OomKillDisable": True}, {"OomKillDisable": None}, "OomKillDisable. OomKillDisable disc"),
        ("pids", {"PidsLimit": 5}, {"PidsLimit": None}, "PIDs limit capabilities or the cgroup is not mounted. PIDs"),
        (
            "cpu_shares",
            {"CpuShares": 5},
            {"CpuShares": 0},
            "CPU shares or the cgroup is not mounted. Shares discarded.",
        ),
        ("cpu_quota", {"CpuQuota": 5000}, {"CpuQuota": 0}, "CPU CFS scheduler. CPU period/quota discarded."),
        ("cpuset", {"CpusetCpus": "0"}, {"CpusetCpus": ""}, "cpuset or the cgroup is not mounted. Cpuset discarded."),
        (
            "block_weight",
            {"BlkioWeight": 10},
            {"BlkioWeight": 0},
            "Block I/O weight or the cgroup is not mounted. Weight",
        ),
        (
            "block_weight_device",
            {"BlkioWeightDevice": [{"Path": "/dev/disk", "Weight": 10}]},
            {"BlkioWeightDevice": []},
            "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        ),
        (
            "block_throttle",
            {"BlkioDeviceReadBps": [DISK]},
            {"BlkioDeviceReadBps": []},
            "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
        ),
    ],
)
def test_what_the_kernel_cannot_do_is_discarded_with_dockers_warning(
    lacks: str, wanted: dict[str, Any], left: dict[str, Any], warning: str
) -> None:
    found, warnings = checked({lacks: False}, **wanted)
    assert left.items() <= found.items()
    assert [each for each in warnings if each.startswith(f"Your kernel does not support {warning}")], warnings


@pytest.mark.parametrize(
    ("able", "wanted", "sentence"),
    [
        ({"cpu_quota": False}, {"NanoCpus": 10**9}, "NanoCPUs can not be set, as your kernel does not support CPU CFS"),
        ({"cpu_realtime": False}, {"CpuRealtimePeriod": 5}, "Your kernel does not support CPU real-time scheduler"),
        ({}, {"CpuRealtimePeriod": 5, "CpuRealtimeRuntime": 6}, "runtime cannot be higher than cpu real-time period"),
        ({}, {"CpusetCpus": "3-4"}, "Requested CPUs are not available - requested 3-4, available: 0-3"),
        (
            {"nodes": "0-1"},
            {"CpusetMems": "2"},
            "Requested memory nodes are not available - requested 2, available: 0-1",
        ),
    ],
)
def test_what_would_change_how_it_behaves_is_refused(
    able: dict[str, Any], wanted: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Invalid, match=sentence):
        checked(able, **wanted)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ({"Memory": 8 * MB, "MemorySwap": 0}, {"MemorySwap": 16 * MB}),
        ({"Memory": 8 * MB, "MemorySwap": -1}, {"MemorySwap": -1}),
        ({"Memory": 8 * MB, "MemorySwap": 8 * MB}, {"MemorySwap": 8 * MB}),
        ({"MemorySwappiness": -1}, {"MemorySwappiness": None}),
        ({"PidsLimit": -7}, {"PidsLimit": None}),
        ({"PidsLimit": 0}, {"PidsLimit": None}),
        ({"OomKillDisable": None}, {"OomKillDisable": False}),
    ],
)
def test_what_follows_is_filled_in(wanted: dict[str, Any], made: dict[str, Any]) -> None:
    found, warnings = checked({}, **wanted)
    assert found | made == found
    assert not warnings


def test_kernel_memory_is_discarded_with_a_warning() -> None:
    found, warnings = checked({}, KernelMemory=8 * MB)
    assert found["KernelMemory"] == 0
    assert warnings == [
        "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded."
    ]


@pytest.fixture
def record(tmp_path: Any) -> Any:
    with house(tmp_path) as home:
        yield home.create("one")


def given(record: Container, **limits: Any) -> dict[str, Any]:
    return replace(record, host_config={**record.host_config, **limits}).host_config


def test_a_start_is_told_only_what_was_given(record: Container) -> None:
    found = resources.resources(given(record))
    assert set(found) == {"devices"}
    found = resources.resources(given(record, NanoCpus=1_500_000_000, PidsLimit=5, MemorySwappiness=0))
    assert found["cpu"] == {"quota": 150_000, "period": 100_000}
    assert found["pids"] == {"limit": 5}
    assert found["memory"] == {"swappiness": 0}


def test_an_update_is_told_everything(record: Container) -> None:
    found = resources.changeable(given(record, Memory=8 * MB, MemorySwap=-1))
    assert found["memory"] == {"limit": 8 * MB, "reservation": -1, "swap": -1}
    assert found["cpu"]["quota"] == -1
    assert found["pids"] == {"limit": -1}
    assert found["blockIO"] == {"weight": 0}


def test_block_devices_become_numbers(record: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "device_number", lambda path: (8, 16))
    found = resources.resources(
        given(record, BlkioDeviceReadBps=[DISK], BlkioWeightDevice=[{"Path": "/dev/disk", "Weight": 10}])
    )
    assert found["blockIO"] == {
        "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 5}],
        "weightDevice": [{"major": 8, "minor": 16, "weight": 10}],
    }
