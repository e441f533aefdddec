"""``update`` and ``stats``, and the flags that name block devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sampan.cli.container import stats
from unit.cli.fake_daemon import Daemon, Result

Sampan = Callable[..., Result]


def counted(name: str = "web", cpu: int = 0, system: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": "4f53cda18c2b" + "0" * 52,
        "name": f"/{name}",
        "cpu_stats": {"cpu_usage": {"total_usage": cpu}, "system_cpu_usage": system, "online_cpus": 2},
        "memory_stats": {"usage": 3 << 20, "limit": 64 << 20, "stats": {"total_inactive_file": 1 << 20}},
        "pids_stats": {"current": 4},
        "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 1}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"op": "Read", "value": 2000},
                {"op": "write", "value": 5},
                {"op": "Total", "value": 2005},
            ]
        },
        **more,
    }


def test_a_row_is_what_was_used_since_the_last_one() -> None:
    row = stats.row("web", counted(cpu=150, system=1000), counted(cpu=50, system=800), False)
    assert row == {
        "Container": "web",
        "ID": "4f53cda18c2b",
        "Name": "web",
        "CPUPerc": "100.00%",
        "MemUsage": "2MiB / 64MiB",
        "MemPerc": "3.12%",
        "NetIO": "1.5kB / 1B",
        "BlockIO": "2kB / 5B",
        "PIDs": "4",
    }


def test_one_that_does_not_run_uses_nothing() -> None:
    entry = counted(memory_stats={}, pids_stats={}, blkio_stats={"io_service_bytes_recursive": None})
    del entry["networks"]
    row = stats.row("web", entry, entry, True)
    assert (row["MemUsage"], row["MemPerc"], row["NetIO"], row["PIDs"]) == ("0B / 0B", "0.00%", "0B / 0B", "0")
    assert stats.row("web", entry, None, True)["CPUPerc"] == "--"


def test_a_look_takes_two_samples(daemon: Daemon, sampan: Sampan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "INTERVAL", 0)
    daemon.on("GET /containers/web/json", {})
    daemon.on("GET /containers/web/stats", counted())
    assert sampan("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web").out == "web 4\n"
    asked = [request for request in daemon.requests if "stats" in request.path]
    assert len(asked) == 2
    assert all(request.query == {"stream": ["0"], "one-shot": ["1"]} for request in asked)


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["-m", "1g", "--memory-swap", "-1"], {"Memory": 1 << 30, "MemorySwap": -1}),
        (["--cpus", "1.5", "--pids-limit", "0"], {"NanoCpus": 1_500_000_000, "PidsLimit": 0}),
        (["--restart", "on-failure:2"], {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}),
        (["--blkio-weight", "20", "-c", "7"], {"BlkioWeight": 20, "CpuShares": 7}),
    ],
)
def test_update_sends_what_was_given(daemon: Daemon, sampan: Sampan, words: list[str], body: dict[str, Any]) -> None:
    daemon.on("POST /containers/web/update", {"Warnings": ["mind the gap"]})
    done = sampan("update", *words, "web")
    assert (done.out, done.err) == ("web\n", "WARNING: mind the gap\n")
    assert json.loads(daemon.requests[-1].body) == body


def test_update_of_nothing(sampan: Sampan) -> None:
    done = sampan("update", "web")
    assert (done.code, "you must provide one or more flags" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--device-read-bps", "sda:1mb"], "bad format for device path: sda:1mb"),
        (["--device-read-bps", "/dev/sda"], "bad format: /dev/sda"),
        (["--device-write-iops", "/dev/sda:-4"], "invalid rate for device: /dev/sda:-4. The correct format is"),
        (["--blkio-weight-device", "/dev/sda:5"], "invalid weight for device: /dev/sda:5"),
    ],
)
def test_devices_that_are_none(sampan: Sampan, words: list[str], sentence: str) -> None:
    done = sampan("run", *words, "shell")
    assert done.code == 125
    assert sentence in done.err
