"""The small parts: names, signals, times, restart policies, the registry, the cleaner, ps."""

from __future__ import annotations

import threading

import pytest

from sampan.containers import names, processes, signals, timestamps
from sampan.containers.cleaner import Cleaner
from sampan.containers.life import restart
from sampan.containers.registry import Registry
from sampan.errors import Invalid, NotFound
from sampan.types import Container, State


def record(ident: str, name: str = "x", policy: str = "no", most: int = 0, **state: object) -> Container:
    return Container(
        id=ident,
        name=name,
        created="",
        image="",
        image_reference="",
        layer="",
        config={},
        host_config={"RestartPolicy": {"Name": policy, "MaximumRetryCount": most}},
        path="",
        args=[],
        storage_driver="",
        runtime="",
        state=State(**state),  # type: ignore[arg-type]
    )


def test_invented_names_are_valid_and_free() -> None:
    taken: set[str] = set()
    for _ in range(200):
        name = names.invent(taken)
        assert names.check(name) == name
        taken.add(name)
    assert len(taken) == 200


@pytest.mark.parametrize("name", ["", "a", "-ab", "a b", "ä1", "a/b", "ab\n"])
def test_invalid_names(name: str) -> None:
    with pytest.raises(Invalid, match="Invalid container name"):
        names.check(name)


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("sigkill", 9), ("2", 2), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("SIGRTMIN", 34)]
)
def test_signals(text: str, number: int) -> None:
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "SIG", "RTMIN+40", "²", "-9"])
def test_no_signals(text: str) -> None:
    with pytest.raises(Invalid, match="invalid signal"):
        signals.parse(text)


def test_times() -> None:
    assert timestamps.text(1_500_000_000_000_000_001) == "2017-07-14T02:40:00.000000001Z"
    assert timestamps.nanoseconds("2017-07-14T04:40:00.000000001+02:00") == 1_500_000_000_000_000_001
    assert timestamps.nanoseconds("1500000000.5") == 1_500_000_000_500_000_000
    for bad in ("", "yesterday", "2017-13-01T00:00:00Z", "1" * 30):
        with pytest.raises(Invalid):
            timestamps.nanoseconds(bad)


def test_restart_policies() -> None:
    assert not restart.wanted(record("a"))
    assert restart.wanted(record("a", policy="always"))
    assert not restart.wanted(record("a", policy="always", stopped_by_user=True))
    assert not restart.wanted(record("a", policy="on-failure"))
    assert restart.wanted(record("a", policy="on-failure", exit_code=1))
    tried = record("a", policy="on-failure", most=2, exit_code=1)
    tried.restart_count = 2
    assert not restart.wanted(tried)
    started = {"started_at": "2026-01-01T00:00:00Z"}
    assert restart.wanted_at_boot(record("a", policy="always", stopped_by_user=True, **started), was_alive=False)
    stopped = record("a", policy="unless-stopped", stopped_by_user=True, **started)
    assert not restart.wanted_at_boot(stopped, was_alive=False)
    assert not restart.wanted_at_boot(record("a", policy="always"), was_alive=False)


def test_restart_delays() -> None:
    quick = record("a", started_at=timestamps.now())
    delay, delays = 0.0, []
    for _ in range(12):
        delay = restart.delay(delay, quick)
        delays.append(delay)
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert delays[-1] == 60
    assert restart.delay(60, record("a", started_at="2020-01-01T00:00:00Z")) == 0.1


def test_finding() -> None:
    registry = Registry()
    registry.add(record("abc1", "one"))
    registry.add(record("abd2", "abc"))
    assert registry.find("abc1").record.name == "one"
    assert registry.find("/one").record.id == "abc1"
    assert registry.find("abc").record.id == "abd2"  # a name wins over the beginning of an id
    assert registry.find("abd").record.id == "abd2"
    with pytest.raises(Invalid, match="multiple IDs found with provided prefix: ab"):
        registry.find("ab")
    for reference in ("", "x", "/"):
        with pytest.raises(NotFound, match="No such container"):
            registry.find(reference)


def test_the_cleaner_settles() -> None:
    cleaner = Cleaner(2)
    assert cleaner.settle(0)
    gate, done = threading.Event(), []
    cleaner.later(gate.wait)
    cleaner.later(lambda: 1 / 0)
    cleaner.later(lambda: done.append(1))
    assert not cleaner.settle(0.01)
    gate.set()
    assert cleaner.settle(10)
    assert done == [1]


def test_ps() -> None:
    text = "UID   PID CMD\nroot    7 a b c\nroot   70 other\nroot    8 d\n"
    assert processes.parse(text, {7, 8}) == {
        "Titles": ["UID", "PID", "CMD"],
        "Processes": [["root", "7", "a b c"], ["root", "8", "d"]],
    }
    with pytest.raises(Invalid, match="Couldn't find PID field"):
        processes.parse("UID CMD\n", {1})
    with pytest.raises(Invalid):
        processes.listed({1}, "-o pid=x")
