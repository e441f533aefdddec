"""Restart policies and the causes of ends, with dummies for everything below the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sampan.containers.life import adoption
from sampan.containers.monitors import Exit
from sampan.containers.registry import Registry
from sampan.types import Container, ExitCause, Status
from unit.containers.container_house import House, eventually, house

ALWAYS = {"RestartPolicy": {"Name": "always"}}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def waiting(home: House, policy: str = "always") -> Container:
    """A container that waits, for ever, for its restart."""
    home.parts.clock.close()
    record = home.create("one", {"RestartPolicy": {"Name": policy}})
    home.containers.start("one")
    home.monitors.end(record.id, 1)
    eventually(lambda: record.state.status is Status.RESTARTING and home.recorded()[record.id] == record)
    return record


def next_daemon(home: House, told: Exit | None = None) -> tuple[Container, list[str]]:
    """The only record as the next daemon sees it, and the names of what it starts."""
    home.monitors.adopt = lambda key, directory: told  # type: ignore[attr-defined]
    found = adoption.adopt(parts := replace(home.parts, registry=Registry()))
    [entry] = parts.registry
    return entry.record, [each.record.name for each in found.wanted]


def test_a_restart_is_counted_when_it_is_decided_and_done_by_the_next_daemon_if_need_be(home: House) -> None:
    record = waiting(home, "on-failure")
    assert record.restart_count == 1
    later, wanted = next_daemon(home)
    assert (later.state.status, later.restart_count, wanted) == (Status.EXITED, 1, ["one"])


def test_deaths_for_want_of_memory_are_told_by_the_next_daemon_unless_the_last_one_did(home: House) -> None:
    for name, known in (("one", False), ("two", True)):
        record = home.create(name, {})
        home.containers.start(name)
        record.state.oom_killed = known
        home.parts.save(record)
    home.monitors.adopt = lambda key, directory: Exit(137, True, time.time_ns())  # type: ignore[attr-defined]
    found = adoption.adopt(parts := replace(home.parts, registry=Registry()))
    del home.events[:]
    adoption.tell(parts, found)
    assert sorted(home.events) == ["die", "die", "oom"]
    assert [each.name for each in found.starved] == ["one"]


def test_the_last_restart_of_all_is_done_by_the_next_daemon_too(home: House) -> None:
    record = waiting(home, "on-failure")
    record.host_config["RestartPolicy"]["MaximumRetryCount"] = 1
    home.parts.save(record)
    assert next_daemon(home)[1] == ["one"]


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_who_waits_for_a_restart_can_be_stopped(home: House, verb: str) -> None:
    record = waiting(home)
    getattr(home.containers, verb)("one")
    assert (record.state.status, record.state.stopped_by_user) == (Status.EXITED, True)
    assert home.recorded()[record.id].state.stopped_by_user
    assert "kill" not in home.events


def test_a_users_start_counts_from_the_beginning(home: House) -> None:
    record = home.create("one", {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}})
    home.monitors.next_exit = 1
    for _ in range(2):
        home.containers.start("one")
        eventually(lambda: record.restart_count == 1 and record.state.status is Status.EXITED)


def test_an_end_while_the_daemon_stops_is_left_to_the_next_one(home: House) -> None:
    record = home.create("one", {"RestartPolicy": {"Name": "on-failure"}})
    home.containers.start("one")
    home.containers._endings.close()
    home.end(record, 3)
    assert home.recorded()[record.id].state.status is Status.RESTARTING
    assert next_daemon(home)[1] == ["one"]


def test_an_end_for_health_is_finished_by_the_next_daemon(home: House) -> None:
    record = home.create("one")
    home.containers.start("one")
    record.state.ending = "3 health checks failed in a row"
    home.parts.save(record)
    later, wanted = next_daemon(home, Exit(143, False, time.time_ns()))
    assert (later.state.cause, later.state.cause_detail) == (ExitCause.HEALTH, "3 health checks failed in a row")
    assert later.state.ending == ""
    assert wanted == ["one"]


@pytest.mark.parametrize("policy", ["no", "on-failure", "unless-stopped"])
def test_a_stop_is_remembered_by_the_next_daemon(home: House, policy: str) -> None:
    home.monitors.deadly = set()
    home.create("one", {"RestartPolicy": {"Name": policy}})
    home.containers.start("one")
    home.containers.kill("one", "TERM")
    assert next_daemon(home, Exit(143, False, time.time_ns()))[1] == []


def test_always_runs_again_under_the_next_daemon(home: House) -> None:
    home.create("one", ALWAYS)
    home.containers.start("one")
    home.containers.stop("one")
    assert next_daemon(home)[1] == ["one"]


def test_whose_signal_it_was(home: House) -> None:
    home.monitors.deadly = {1}
    record = home.create("one")
    home.containers.start("one")
    home.containers.kill("one", "USR1", "user boatswain")
    home.containers.kill("one", "hup", "user boatswain")
    eventually(lambda: record.state.status is Status.EXITED)
    assert (record.state.cause, record.state.cause_detail) == (
        ExitCause.ASKED,
        "SIGHUP from kill, asked by user boatswain",
    )
    assert not record.state.stopped_by_user
    home.containers.start("one")
    home.end(record, 129)
    assert record.state.cause is ExitCause.OWN
