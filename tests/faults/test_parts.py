"""``kill -9`` of a monitor, of the launcher, of a container's init."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.fragile import children, waiting
from harness import Engine, Leftovers
from harness.leftovers import may_launch
from sampan.linux import process
from sampan.monitor.launcher import CREWS

pytestmark = pytest.mark.root

IMAGE = "small:latest"
SAMPAN = [sys.executable, "-m", "sampan.cli"]
LONG = [IMAGE, "sleep", "1000"]
New = Callable[..., Engine]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        running.sampan("image", "from-host", "-t", IMAGE, "busybox", "sh", "sleep").ok()
        running.sampan("run", "--rm", "-p", "8080:80", IMAGE, "true").ok()
        yield running


@pytest.fixture
def before(engine: Engine) -> Iterator[Leftovers]:
    engine.wait_until(lambda: engine.leftovers().links == {"lo", "up0", engine.bridge}, "the last links are gone")
    found = engine.leftovers()
    yield found
    engine.remove_containers()
    engine.assert_as_before(found)


def state(engine: Engine, name: str) -> dict[str, Any]:
    status, told = engine.api("GET", f"/containers/{name}/json")
    assert status == 200, told
    return dict(told["State"])


def record(engine: Engine, ident: str) -> dict[str, Any]:
    """What the database has of a container."""
    with contextlib.closing(sqlite3.connect(f"file:{engine.root}/data/engine.db?mode=ro", uri=True)) as database:
        [body] = database.execute("SELECT body FROM containers WHERE id = ?", (ident,)).fetchone()
    return dict(json.loads(body))


def launcher(engine: Engine) -> int:
    assert engine.daemon is not None
    return next(filter(may_launch, children(engine.daemon.pid)), 0)


def monitor_of(pid: int) -> int:
    """The nearest monitor above a process: some runtimes keep a program of their own in between."""
    while Path(f"/proc/{pid}/comm").read_text() != "sampan-monitor\n":
        pid = process.parent(pid) or 0
    return pid


def test_without_its_monitor_a_container_ends(engine: Engine, before: Leftovers) -> None:
    ident = engine.sampan("run", "-d", "-p", "8080:80", *LONG).out
    pid = state(engine, ident)["Pid"]
    os.kill(monitor_of(pid), signal.SIGKILL)
    assert engine.sampan("wait", ident).out == "137"
    told = state(engine, ident)
    assert (told["Status"], told["ExitCode"], told["Pid"]) == ("exited", 137, 0)
    assert record(engine, ident)["state"]["cause"] == "lost"
    engine.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its init has ended")
    engine.sampan("start", ident).ok()
    assert state(engine, ident)["Running"]


def test_without_its_monitor_one_that_is_removed_at_its_end_is_gone(engine: Engine, before: Leftovers) -> None:
    ident = engine.sampan("run", "-d", "--rm", *LONG).out
    os.kill(monitor_of(state(engine, ident)["Pid"]), signal.SIGKILL)
    engine.wait_until(lambda: engine.api("GET", f"/containers/{ident}/json")[0] == 404, "it is removed")
    engine.assert_as_before(before)


def test_a_monitor_that_died_while_there_was_no_daemon(engine: Engine) -> None:
    ident = engine.sampan("run", "-d", *LONG).out
    monitor = monitor_of(state(engine, ident)["Pid"])
    engine.kill()
    os.kill(monitor, signal.SIGKILL)
    engine.start()
    told = state(engine, ident)
    assert (told["Status"], told["ExitCode"]) == ("exited", 137)
    assert record(engine, ident)["state"]["cause"] == "lost"
    engine.sampan("rm", ident).ok()


def test_the_monitor_of_an_exec(engine: Engine, before: Leftovers) -> None:
    ident = engine.sampan("run", "-d", *LONG).out
    init = state(engine, ident)["Pid"]
    for _ in range(8):  # whichever is gone first when the client asks: its streams, its process or its monitor
        executing = engine.popen(*SAMPAN, "exec", ident, "sh", "-c", "echo $$; exec sleep 1000", stdout=-1)
        assert executing.stdout is not None
        executing.stdout.readline()
        [pid] = {pid for pid in inside(engine, ident) if pid != init}
        os.kill(monitor_of(pid), signal.SIGKILL)
        assert executing.wait(10) == 137
        executing.stdout.close()
    engine.wait_until(lambda: inside(engine, ident) == {init}, "what was executed has ended")
    assert state(engine, ident)["Running"]


def inside(engine: Engine, ident: str) -> set[int]:
    lines = Path(f"/proc/{state(engine, ident)['Pid']}/cgroup").read_text().splitlines()
    group = next(line.split(":", 2)[2] for line in lines if line.endswith(ident))
    path = next(path for path in Path("/sys/fs/cgroup").rglob(ident) if str(path).endswith(group))
    return {int(pid) for file in path.rglob("cgroup.procs") for pid in file.read_text().split()}


def test_an_init_that_is_killed(engine: Engine, before: Leftovers) -> None:
    ident = engine.sampan("run", "-d", *LONG).out
    os.kill(state(engine, ident)["Pid"], signal.SIGKILL)
    assert engine.sampan("wait", ident).out == "137"
    assert record(engine, ident)["state"]["cause"] == "own"


def test_without_the_launcher_containers_go_on_and_the_next_one_starts(engine: Engine) -> None:
    ident = engine.sampan("run", "-d", *LONG).out
    dead = launcher(engine)
    os.kill(dead, signal.SIGKILL)
    assert engine.sampan("exec", ident, "echo", "a word").out == "a word"
    for _ in range(2 * CREWS):  # those that wait are there yet
        assert engine.sampan("run", "--rm", IMAGE, "echo", "aboard").out == "aboard"
    assert state(engine, ident)["Running"]
    engine.wait_until(lambda: launcher(engine) not in (0, dead), "there is another launcher")
    engine.sampan("rm", "-f", ident).ok()


def test_crews_that_are_killed_while_they_wait_cost_no_start(engine: Engine) -> None:
    assert engine.daemon is not None
    first = launcher(engine)
    crews = set(waiting(engine.daemon.pid)) - {first}
    for pid in {pid for pid in crews if process.parent(pid) != first}:  # starters, and inits made ahead
        with contextlib.suppress(ProcessLookupError):  # those of the container of the test before may just have ended
            os.kill(pid, signal.SIGKILL)
    for _ in range(2 * CREWS):
        assert engine.sampan("run", "--rm", IMAGE, "echo", "aboard").out == "aboard"
    for pid in waiting(engine.daemon.pid):
        if pid != first and process.parent(pid) == first:  # monitors
            with contextlib.suppress(ProcessLookupError):  # the last container's may just have ended
                os.kill(pid, signal.SIGKILL)
    for _ in range(2 * CREWS):
        assert engine.sampan("run", "--rm", IMAGE, "echo", "aboard").out == "aboard"


def test_a_launcher_that_hangs_keeps_no_start_waiting_for_good(engine: Engine) -> None:
    """A new daemon waits for what the old one was starting, but not for ever."""
    hanging = launcher(engine)
    os.kill(hanging, signal.SIGSTOP)
    engine.kill()
    engine.start()
    assert engine.sampan("run", "--rm", IMAGE, "echo", "aboard").out == "aboard"
    os.kill(hanging, signal.SIGKILL)


def test_without_its_monitor_a_frozen_container_ends_too(engine: Engine, before: Leftovers) -> None:
    ident = engine.sampan("run", "-d", *LONG).out
    pid = state(engine, ident)["Pid"]
    engine.sampan("pause", ident).ok()
    os.kill(monitor_of(pid), signal.SIGKILL)
    assert engine.sampan("wait", ident).out == "137"
    engine.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its init has ended")


def test_what_was_executed_goes_on_without_the_daemon_and_ends_with_the_container(engine: Engine) -> None:
    ident = engine.sampan("run", "-d", *LONG).out
    engine.sampan("exec", "-d", ident, "sleep", "1000").ok()
    engine.wait_until(lambda: len(inside(engine, ident)) == 2, "it runs")
    both = inside(engine, ident)
    engine.kill()
    engine.start()
    assert inside(engine, ident) == both
    engine.sampan("rm", "-f", ident).ok()
    engine.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in both), "both have ended")


def test_a_start_that_is_late_is_waited_for(engine: Engine) -> None:
    """The daemon died after it had asked for a start: the next one does not take the container for lost."""
    ident = engine.sampan("create", *LONG).out
    assert engine.daemon is not None
    slow = waiting(engine.daemon.pid)
    for pid in slow:
        os.kill(pid, signal.SIGSTOP)
    asking = engine.popen(*SAMPAN, "start", ident, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    engine.wait_until(lambda: record(engine, ident)["state"]["status"] == "running", "the start is written down")
    time.sleep(0.1)  # the word to the launcher is sent beside that
    engine.kill()
    asking.wait()
    waking = threading.Timer(1.5, lambda: [os.kill(pid, signal.SIGCONT) for pid in slow])
    waking.start()
    engine.start()
    assert state(engine, ident)["Running"]
    assert engine.sampan("exec", ident, "echo", "aboard").out == "aboard"
    engine.sampan("rm", "-f", ident).ok()
