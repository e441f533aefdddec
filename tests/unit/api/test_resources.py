"""Updates as clients of every age spell them; counters in Docker's fields for both versions of cgroups."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.views import host, system
from sampan.api.views import stats as views
from sampan.drivers.types import Stats
from sampan.linux.abilities import Abilities
from sampan.types import Container
from unit.api.conftest import Daemon, Wire
from unit.api.fake_engine import container

NOW = Stats(cpu_ns=9, per_cpu_ns=(4, 5), pids=3, memory=70, memory_max=90, memory_failures=2, memory_stat={"x": 1})


def running() -> Container:
    made = container("a", "web")
    made.host_config["NetworkMode"] = "none"
    return made


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda number: monkeypatch.setattr(host, "cgroup_version", lambda: number)


def test_updates_reach_the_engine_in_one_spelling(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    answer = wire.ask("POST", "/containers/web/update", {"memory": 5, "restartpolicy": {"name": "no"}, "PidsLimit": 3})
    assert (answer.status, answer.json) == (200, {"Warnings": None})
    assert daemon.engine.containers.calls[-1] == (
        "update",
        {"Memory": 5, "RestartPolicy": {"Name": "no"}, "PidsLimit": 3},
    )
    assert wire.ask("POST", "/containers/web/update", {"OomKillDisable": True}).json == {"Warnings": ["be careful"]}


def test_clients_before_1_40_send_a_limit_of_processes_without_meaning_it(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.ask("POST", "/v1.39/containers/web/update", {"PidsLimit": 0, "Memory": 5})
    assert daemon.engine.containers.calls[-1] == ("update", {"Memory": 5})


def test_what_is_no_object_is_refused(wire: Wire) -> None:
    assert wire.ask("POST", "/containers/web/update", [1]).status == 400
    assert wire.ask("POST", "/containers/nope/update", {}).status == 404


def test_one_shot_is_no_stream(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    answer = wire.ask("GET", "/containers/web/stats?one-shot=1")
    assert (answer.status, answer.message) == (400, "cannot have stream=true and one-shot=true")


def test_version_1_says_more(version: Any) -> None:
    version("1")
    entry = views.stats(running(), NOW, "t", None)
    assert entry["cpu_stats"]["cpu_usage"]["percpu_usage"] == [4, 5]
    assert entry["memory_stats"] == {
        "usage": 70,
        "max_usage": 90,
        "failcnt": 2,
        "stats": {"x": 1},
        "limit": host.memory(),
    }
    assert entry["pids_stats"] == {"current": 3}


def test_version_2_says_less(version: Any) -> None:
    version("2")
    entry = views.stats(running(), Stats(pids=3, memory=70, memory_max=90, memory_limit=80), "t", None)
    assert "percpu_usage" not in entry["cpu_stats"]["cpu_usage"]
    assert entry["memory_stats"] == {"usage": 70, "stats": {}, "limit": 80}
    assert entry["pids_stats"] == {"current": 3, "limit": 2**64 - 1}
    assert entry["blkio_stats"]["io_serviced_recursive"] is None


def test_no_limit_is_above_the_hosts_memory() -> None:
    assert views.stats(running(), Stats(memory_limit=2**60), "t", None)["memory_stats"]["limit"] == host.memory()


def test_info_warns_of_what_is_missing(version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "forwards_ipv4", lambda: True)
    version("1")
    assert system.warnings(Abilities()) == []
    able = Abilities(swap=False, oom_kill_disable=False, block_throttle=False)
    assert system.warnings(able) == [
        "WARNING: No swap limit support",
        "WARNING: No oom kill disable support",
        "WARNING: No blkio throttle.read_bps_device support",
        "WARNING: No blkio throttle.write_bps_device support",
        "WARNING: No blkio throttle.read_iops_device support",
        "WARNING: No blkio throttle.write_iops_device support",
    ]
    version("2")
    assert "WARNING: No oom kill disable support" not in system.warnings(able)
    assert (system.limits(able)["SwapLimit"], system.limits(able)["MemoryLimit"]) == (False, True)
