"""The life of a container, with dummies for everything below the service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sampan.containers.life import adoption
from sampan.containers.life.transitions import NEXT, move
from sampan.containers.registry import Registry
from sampan.errors import Conflict, Internal, Invalid, NotFound, NotModified, StartFailed, Unavailable
from sampan.types import ExitCause, Status
from unit.containers.container_house import House, eventually, house


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def test_a_container_is_created_started_and_ends(home: House) -> None:
    record = home.create("one", Cmd=["sleep", "1"])
    assert record.state.status is Status.CREATED
    home.containers.start("one")
    assert record.state.status is Status.RUNNING
    assert record.state.pid
    assert home.recorded()[record.id].state.status is Status.RUNNING
    with pytest.raises(NotModified):
        home.containers.start("one")
    home.end(record, 3)
    assert (record.state.exit_code, record.state.cause, record.state.pid) == (3, ExitCause.OWN, 0)
    home.settle()
    assert not list((home.parts.config.exec_root / "bundles").iterdir())
    home.containers.remove(record.id[:8])
    home.settle()
    assert not home.recorded()
    assert not home.storage.roots
    assert home.events == ["create", "start", "die", "destroy"]
    with pytest.raises(NotFound, match="No such container: one"):
        home.containers.get("one")


def test_what_is_already_taken_or_forbidden(home: House) -> None:
    first = home.create("one")
    with pytest.raises(Conflict, match=f'The container name "/one" is already in use by container "{first.id}"'):
        home.create("/one")
    with pytest.raises(Invalid, match=r"Invalid container name \(a\), only"):
        home.create("a")
    with pytest.raises(Conflict, match="is not running"):
        home.containers.kill("one")
    with pytest.raises(NotModified):
        home.containers.stop("one")
    with pytest.raises(Conflict, match="is not paused"):
        home.containers.unpause("one")
    home.containers.start("one")
    with pytest.raises(Conflict, match="container is running: stop the container before removing or force remove"):
        home.containers.remove("one")
    home.containers.pause("one")
    with pytest.raises(Conflict, match="try unpause instead"):
        home.containers.start("one")
    with pytest.raises(Conflict, match="paused and must be unpaused first"):
        home.containers.remove("one")
    home.containers.remove("one", force=True)
    assert home.create("one").id != first.id


@pytest.mark.parametrize("step", ["networks.attach", "storage.mount", "runtime.order", "monitors.start start"])
def test_a_start_that_fails_leaves_the_container_as_it_was(home: House, step: str) -> None:
    record = home.create("one")
    home.failing[step] = Unavailable("not today")
    with pytest.raises(Unavailable, match="not today"):
        home.containers.start("one")
    assert record.state.status is Status.CREATED
    assert (record.state.exit_code, record.state.error, record.state.pid) == (128, "not today", 0)
    assert home.recorded()[record.id].state.error == "not today"
    assert not list((home.parts.config.exec_root / "bundles").iterdir())
    assert ("networks.detach" in home.calls) == (step != "networks.attach")
    home.failing.clear()
    home.containers.start("one")
    assert (record.state.status, record.state.error) == (Status.RUNNING, "")


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ('exec: "x": executable file not found in $PATH', 127, "executable file not found"),
        ("nothing there", 127, "no such file or directory"),
        ("is a directory", 126, "permission denied"),
        ("no memory", 128, "no memory"),
    ],
)
def test_a_command_that_cannot_be_started(home: House, said: str, code: int, words: str) -> None:
    """The docker CLI makes its exit status from these words."""
    record = home.create("one")
    home.failing["monitors.start start"] = StartFailed(said, code)
    with pytest.raises(StartFailed, match=words) as caught:
        home.containers.start("one")
    assert caught.value.message.startswith("failed to create task for container: ")
    assert record.state.exit_code == code
    assert ("no such file" in caught.value.message) == (said == "nothing there")


def test_removed_at_its_end(home: House) -> None:
    record = home.create("one", {"AutoRemove": True})

    async def run() -> tuple[int, str]:
        waiting = asyncio.ensure_future(home.containers.wait("one", "removed"))
        await asyncio.sleep(0)
        home.monitors.next_exit = 7
        await asyncio.to_thread(home.containers.start, "one")
        return await waiting

    assert asyncio.run(run()) == (7, "")
    assert not home.recorded()
    home.settle()
    assert not home.storage.roots
    assert home.events == ["create", "start", "die", "destroy"]
    assert record.state.exit_code == 7


def test_removed_when_it_cannot_start(home: House) -> None:
    home.create("one", {"AutoRemove": True})
    home.failing["monitors.start start"] = StartFailed("no", 127)

    async def run() -> tuple[int, str]:
        waiting = asyncio.ensure_future(home.containers.wait("one", "removed"))
        await asyncio.sleep(0)
        with pytest.raises(StartFailed):
            await asyncio.to_thread(home.containers.start, "one")
        return await waiting

    assert asyncio.run(run())[0] == 127
    assert not home.recorded()


def test_waiting(home: House) -> None:
    record = home.create("one")
    assert asyncio.run(home.containers.wait("one", "not-running")) == (0, "")
    home.containers.start("one")

    async def both() -> list[tuple[int, str]]:
        waiting = [asyncio.ensure_future(home.containers.wait("one", each)) for each in ("not-running", "next-exit")]
        await asyncio.sleep(0)
        home.monitors.end(record.id, 5)
        return await asyncio.gather(*waiting)

    assert asyncio.run(both()) == [(5, ""), (5, "")]


def test_stop_asks_first_and_kills_then(home: House) -> None:
    record = home.create("one", StopSignal="SIGINT")
    home.containers.start("one")
    home.monitors.deadly = {9}
    home.containers.stop("one", 0)
    assert [call for call in home.calls if "signal" in call] == ["runtime.signal 2", "runtime.signal 9"]
    assert (record.state.exit_code, record.state.cause) == (137, ExitCause.ASKED)
    assert home.events[-4:] == ["kill", "kill", "die", "stop"]


def test_a_paused_container_can_be_stopped(home: House) -> None:
    record = home.create("one")
    home.containers.start("one")
    home.containers.pause("one")
    home.monitors.deadly = {9}
    home.containers.stop("one", 0)
    assert record.state.status is Status.EXITED
    assert "runtime.resume" in home.calls


def test_restart_keeps_a_container_that_would_be_removed(home: House) -> None:
    record = home.create("one", {"AutoRemove": True})
    home.containers.start("one")
    home.containers.restart("one", 0)
    assert record.state.status is Status.RUNNING
    home.monitors.end(record.id, 0)
    eventually(lambda: not home.recorded())


def test_policy_on_failure(home: House) -> None:
    record = home.create("one", {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    home.monitors.next_exit = 1
    home.containers.start("one")
    eventually(lambda: record.restart_count == 2 and record.state.status is Status.EXITED)
    assert home.calls.count("monitors.start start") == 3


def test_policy_always_until_stopped(home: House) -> None:
    record = home.create("one", {"RestartPolicy": {"Name": "always"}})
    home.containers.start("one")
    home.monitors.end(record.id, 0)
    eventually(lambda: record.restart_count == 1 and record.state.status is Status.RUNNING)
    home.containers.stop("one", 0)
    assert record.state.status is Status.EXITED


def test_a_monitor_that_dies_takes_its_container_with_it(home: House) -> None:
    record = home.create("one")
    home.containers.start("one")
    home.end(record, 137, lost=True)
    assert record.state.cause is ExitCause.LOST
    assert "runtime.remove" in home.calls


def test_out_of_memory_is_told(home: House) -> None:
    record = home.create("one")
    home.containers.start("one")
    home.end(record, 137, oom=True)
    assert (record.state.oom_killed, record.state.cause) == (True, ExitCause.OUT_OF_MEMORY)
    assert home.events[-2:] == ["oom", "die"]


def test_rename(home: House) -> None:
    home.create("one")
    home.create("two")
    with pytest.raises(Conflict):
        home.containers.rename("one", "two")
    home.containers.rename("one", "three")
    assert home.containers.get("/three").name == "three"
    assert home.create("one").name == "one"


def test_attach_before_the_start_ends_with_a_failed_start(home: House) -> None:
    home.create("one")
    stream = home.containers.attach("one", stdin=True, stdout=True, stderr=True, stream=True, logs=False)
    home.failing["storage.mount"] = Unavailable("no")
    with pytest.raises(Unavailable):
        home.containers.start("one")
    stream.settimeout(5)
    assert stream.recv(1) == b""


def test_exec(home: House) -> None:
    home.create("one", {"GroupAdd": ["wheel"]})
    with pytest.raises(Conflict, match="is not running"):
        home.containers.execs.create("one", {"Cmd": ["true"]})
    home.containers.start("one")
    made = home.containers.execs.create("one", {"Cmd": ["echo", "x"], "AttachStdout": True, "Env": ["A=1"]})
    stream = home.containers.execs.start(made.id)
    assert stream is not None
    process = home.monitors.running[made.id].order["process"]
    assert process["args"] == ["echo", "x"]
    assert "A=1" in process["env"]
    assert process["user"]["additionalGids"] == [0, 10]
    with pytest.raises(Conflict, match="already running"):
        home.containers.execs.start(made.id)
    home.monitors.end(made.id, 4)
    eventually(lambda: home.containers.execs.get(made.id).exit_code == 4)
    with pytest.raises(Conflict, match="has already run"):
        home.containers.execs.start(made.id)


def test_an_exec_that_cannot_start_says_so_in_its_stream(home: House) -> None:
    home.create("one")
    home.containers.start("one")
    home.failing["monitors.start exec"] = StartFailed('exec: "x": executable file not found in $PATH', 127)
    made = home.containers.execs.create("one", {"Cmd": ["x"], "AttachStdout": True})
    stream = home.containers.execs.start(made.id)
    assert stream is not None
    stream.settimeout(5)
    assert b"executable file not found" in stream.recv(4096)
    assert home.containers.execs.get(made.id).exit_code == 127
    detached = home.containers.execs.create("one", {"Cmd": ["x"]})
    with pytest.raises(StartFailed):
        home.containers.execs.start(detached.id, detach=True)


@pytest.mark.parametrize(("key", "value"), [("User", "nobody-here"), ("WorkingDir", "not/absolute")])
def test_an_exec_of_nobody_or_nowhere_says_so_in_its_stream(home: House, key: str, value: str) -> None:
    """As dockerd does: create takes it, the exit status is 126."""
    home.create("one")
    home.containers.start("one")
    made = home.containers.execs.create("one", {"Cmd": ["x"], "AttachStdout": True, key: value})
    stream = home.containers.execs.start(made.id)
    assert stream is not None
    stream.settimeout(5)
    assert value in stream.recv(4096).decode()
    assert home.containers.execs.get(made.id).exit_code == 126
    detached = home.containers.execs.create("one", {"Cmd": ["x"], key: value})
    with pytest.raises(Invalid, match=value):
        home.containers.execs.start(detached.id, detach=True)


def test_a_new_daemon_makes_the_records_true(home: House) -> None:
    home.monitors.adopt = lambda key, directory: None  # type: ignore[attr-defined]
    for name, host in (("lost", {}), ("gone", {"AutoRemove": True}), ("again", {"RestartPolicy": {"Name": "always"}})):
        home.create(name, host)
        home.containers.start(name)
    home.create("new")
    found = adoption.adopt(parts := replace(home.parts, registry=Registry()))
    states = {entry.record.name: entry.record.state for entry in parts.registry}
    assert set(states) == {"lost", "again", "new"}
    assert (states["lost"].status, states["lost"].exit_code) == (Status.EXITED, 255)
    assert states["lost"].cause is ExitCause.LOST
    assert states["new"].status is Status.CREATED
    assert [entry.record.name for entry in found.wanted] == ["again"]


def test_the_table_is_asked(home: House) -> None:
    assert set(NEXT) == set(Status)
    record = home.create("one")
    with pytest.raises(Internal, match="created cannot become paused"):
        move(record.state, Status.PAUSED)
