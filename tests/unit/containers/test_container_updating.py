"""Updates: what goes with what a container has, and that record and kernel never disagree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from msgspec.structs import fields, replace

from sampan.containers.life import adoption
from sampan.containers.monitors import Started
from sampan.containers.registry import Registry
from sampan.containers.requests import request
from sampan.errors import Conflict, Exhausted, Internal, Invalid, SampanError
from sampan.types import Container
from unit.containers.container_house import House, house

MB = 1 << 20


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def limits(home: House, record: Container) -> Any:
    return home.runtime.limits.get(record.id)


def test_a_stopped_container_is_only_written_down(home: House) -> None:
    record = home.create("one")
    assert home.containers.update("one", {"Memory": 8 * MB, "MemorySwap": -1, "PidsLimit": 5}) == []
    assert (record.host_config["Memory"], record.host_config["PidsLimit"]) == (8 * MB, 5)
    assert home.recorded()[record.id].host_config == record.host_config
    assert limits(home, record) is None
    assert home.events == ["create", "update"]


def test_a_running_one_is_changed_and_what_is_not_said_stays(home: House) -> None:
    record = home.create("one", host={"Memory": 8 * MB, "CpuShares": 7})
    home.containers.start("one")
    home.containers.update("one", {"Memory": 9 * MB, "CpusetCpus": "0"})
    assert limits(home, record)["memory"] == {"limit": 9 * MB, "reservation": -1, "swap": 16 * MB}
    assert (limits(home, record)["cpu"]["shares"], limits(home, record)["cpu"]["cpus"]) == (7, "0")
    home.containers.update("one", {"PidsLimit": -3, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    assert home.recorded()[record.id].host_config["PidsLimit"] == 0
    assert record.host_config["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


def test_a_new_restart_policy_alone_leaves_the_kernel_alone(home: House) -> None:
    record = home.create("one")
    home.containers.start("one")
    home.containers.update("one", {"RestartPolicy": {"Name": "always"}, "Memory": 0})
    assert limits(home, record) is None


@pytest.mark.parametrize(
    ("has", "wanted", "kind", "sentence"),
    [
        ({"Memory": 8 * MB}, {"Memory": 20 * MB}, Conflict, "smaller than already set memoryswap limit, update the"),
        ({"NanoCpus": 10**9}, {"CpuQuota": 5000}, Conflict, "CPU Quota cannot be updated as NanoCPUs has already been"),
        ({"NanoCpus": 10**9}, {"CpuPeriod": 5000}, Conflict, "CPU Period cannot be updated as NanoCPUs has already"),
        (
            {"CpuQuota": 5000},
            {"NanoCpus": 10**9},
            Conflict,
            "Nano CPUs cannot be updated as CPU Quota has already been",
        ),
        ({"CpuPeriod": 5000}, {"NanoCpus": 10**9}, Conflict, "Nano CPUs cannot be updated as CPU Period has already"),
        (
            {"AutoRemove": True},
            {"RestartPolicy": {"Name": "always"}},
            Conflict,
            "because AutoRemove is enabled for the",
        ),
        ({}, {"MemorySwap": 9 * MB}, Invalid, "You should always set the Memory limit when using Memoryswap"),
        ({"Memory": 9 * MB}, {"MemorySwap": 8 * MB}, Invalid, "Minimum memoryswap limit should be larger than memory"),
    ],
)
def test_what_does_not_go_with_what_it_has(
    home: House, has: dict[str, Any], wanted: dict[str, Any], kind: type[SampanError], sentence: str
) -> None:
    record = home.create("one", host=has)
    before = dict(record.host_config)
    with pytest.raises(kind, match=f"^Cannot update container {record.id}: .*{sentence}"):
        home.containers.update("one", wanted)
    assert record.host_config == before == home.recorded()[record.id].host_config
    assert "update" not in home.events


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": "x"}, "invalid value for Memory: must be int, not str"),
        ({"RestartPolicy": {"Name": "maybe"}}, "maybe"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, "maximum retry count can only be used with"),
    ],
)
def test_what_is_wrong_by_itself(home: House, wanted: dict[str, Any], sentence: str) -> None:
    home.create("one")
    with pytest.raises(Invalid, match=sentence):
        home.containers.update("one", wanted)


def test_what_cannot_be_changed_is_said(home: House) -> None:
    home.create("one")
    assert home.containers.update("one", {"OomKillDisable": True, "Memory": 8 * MB}) == [
        "OomKillDisable cannot be changed after a container was made. Discarded."
    ]


def test_the_kernels_refusal_leaves_the_record_as_it_was(home: House) -> None:
    record = home.create("one")
    home.containers.start("one")
    home.failing["runtime.update"] = Conflict("too low")
    with pytest.raises(Conflict, match=f"Cannot update container {record.id}: too low"):
        home.containers.update("one", {"Memory": 8 * MB})
    assert record.host_config["Memory"] == home.recorded()[record.id].host_config["Memory"] == 0
    assert home.events[-1] == "start"


def test_a_record_that_cannot_be_written_takes_the_limits_back(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    record = home.create("one", host={"Memory": 8 * MB})
    home.containers.start("one")

    def full(*_: object, **__: object) -> None:
        raise Exhausted("no space is left")

    monkeypatch.setattr(home.parts.state, "put", full)
    with pytest.raises(Exhausted, match="no space is left"):
        home.containers.update("one", {"Memory": 12 * MB})
    monkeypatch.undo()
    assert record.host_config["Memory"] == 8 * MB
    assert limits(home, record)["memory"]["limit"] == 8 * MB


def test_the_next_daemon_gives_running_containers_the_limits_of_their_records(home: House) -> None:
    record = home.create("one", host={"Memory": 8 * MB})
    home.containers.start("one")
    assert limits(home, record) is None
    started = Started(record.state.pid, record.state.monitor, 1)
    home.monitors.adopt = lambda key, directory: started  # type: ignore[attr-defined]
    adoption.adopt(replace(home.parts, registry=Registry()))
    assert limits(home, record)["memory"]["limit"] == 8 * MB


anything = (
    some.none() | some.booleans() | some.integers(-(2**70), 2**70) | some.text(max_size=4) | some.just([{"Path": 1}])
)
NAMES = [field.name for field in fields(request.Update)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=some.dictionaries(some.sampled_from(NAMES), anything, max_size=4))
def test_whatever_is_asked_is_done_or_refused_with_a_sentence(home: House, body: dict[str, Any]) -> None:
    if not home.recorded():
        home.create("one")
        home.containers.start("one")
    record = home.containers.get("one")
    before = dict(record.host_config)
    said = ""
    try:
        home.containers.update("one", body)
    except Internal:
        raise
    except SampanError as error:
        said = error.message
    assert "\n" not in said
    assert not said or record.host_config == before
    assert home.recorded()[record.id].host_config == record.host_config
