"""Acting on a running container: signals, its processes, pause and resume, removal."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sampan.drivers.types import INIT, RuntimeFeatures
from sampan.errors import NotFound
from sampan.linux import cgroups
from sampan.testing.runtime.base import Base, need
from sampan.testing.runtime.containers import Containers, Running, until
from sampan.testing.runtime.spec import command

_BUSY = "while :; do :; done"
_LONG_ENOUGH = 0.15
"""Seconds in which a process that is not frozen would certainly have used some time of the processor."""


def used(pid: int) -> int:
    """What a process has used of the processors' time, in clock ticks (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def freeze(running: Running, frozen: bool) -> None:
    """Freeze the container's cgroup, or thaw it, as anybody could who knows nothing of the driver."""
    found = cgroups.hierarchies()
    first = "freezer" in found
    place = found["freezer" if first else cgroups.V2]
    group = cgroups.own(found, f"/proc/{running.pid}/cgroup").get(place, "")
    before, name, _ = group.partition(running.key[:12])
    if not name:
        pytest.skip("the container has no cgroup of its own name")
    own = f"{place}{before}{name}{group[len(before + name) :].partition('/')[0]}"
    file, value = ("freezer.state", "FROZEN" if frozen else "THAWED") if first else ("cgroup.freeze", f"{frozen:d}")
    cgroups.write(f"{own}/{file}", value)


class ControlTests(Base):
    @pytest.mark.parametrize("name", ["TERM", "HUP", "USR1", "WINCH"])
    def test_a_signal_reaches_the_init(self, containers: Containers, name: str) -> None:
        script = f"trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.02; done"
        running = containers.start(command("sh", "-c", script))
        running.until("ready")
        containers.driver.signal(running.key, running.pid, signal.Signals[f"SIG{name}"])
        outcome = running.finish()
        assert (outcome.out, outcome.code) == (f"ready\ngot {name}\n", 7)

    def test_a_real_time_signal_reaches_the_init(self, containers: Containers) -> None:
        script = f"trap 'exit 8' {signal.SIGRTMIN + 3}; echo ready; while :; do sleep 0.02; done"
        running = containers.start(command("sh", "-c", script))
        running.until("ready")
        containers.driver.signal(running.key, running.pid, signal.SIGRTMIN + 3)
        assert running.finish().code == 8

    def test_an_init_that_was_asked_for_passes_signals_on_and_reaps(
        self, features: RuntimeFeatures, containers: Containers
    ) -> None:
        need(features, "init")
        script = "trap 'exit 9' TERM; (sh -c 'sleep 0.01 &'); sleep 0.1; grep -l '^State:.Z' /proc/[0-9]*/status"
        script += "; echo $PPID; while :; do sleep 0.02; done"
        running = containers.start(command("sh", "-c", script, annotations={INIT: "true"}))
        running.until("1")
        containers.driver.signal(running.key, running.pid, signal.SIGTERM)
        outcome = running.finish()
        assert (outcome.out, outcome.code) == ("1\n", 9)

    def test_an_ended_container_gets_no_signal(self, containers: Containers) -> None:
        running = containers.start(command("true"))
        running.finish()
        containers.driver.remove(running.key)
        with pytest.raises(NotFound):
            containers.driver.signal(running.key, running.pid, signal.SIGTERM)

    def test_a_pid_that_is_somebody_elses_by_now_gets_no_signal(self, containers: Containers) -> None:
        running = containers.start(command("true"))
        running.finish()
        with pytest.raises(NotFound):
            containers.driver.signal(running.key, os.getpid(), 0)

    def test_its_processes_are_known_the_init_first(self, containers: Containers) -> None:
        running = containers.start(command("sh", "-c", "sleep 1000 & sleep 1000 & wait"))

        def names() -> list[str]:
            pids = containers.driver.processes(running.key, running.pid)
            return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]

        until(lambda: names() == ["sh", "sleep", "sleep"], lambda: f"its processes are {names()}")
        assert containers.driver.processes(running.key, running.pid)[0] == running.pid

    def test_a_paused_container_does_nothing_and_a_resumed_one_goes_on(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "pause")
        running = containers.start(command("sh", "-c", _BUSY))
        until(lambda: used(running.pid) > 0, lambda: "it did nothing to begin with")
        containers.driver.pause(running.key)
        containers.driver.pause(running.key)
        frozen = used(running.pid)
        time.sleep(_LONG_ENOUGH)  # that nothing happens can only be seen by waiting
        assert used(running.pid) == frozen
        containers.driver.resume(running.key)
        containers.driver.resume(running.key)
        until(lambda: used(running.pid) > frozen, lambda: "it did not go on")

    def test_one_that_has_ended_is_not_paused_and_resuming_it_is_nothing(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        """Somebody may want to at that very moment."""
        need(features, "pause")
        running = containers.start(command("true"))
        running.finish()
        containers.driver.resume(running.key)
        containers.driver.remove(running.key)
        with pytest.raises(NotFound):
            containers.driver.pause(running.key)
        containers.driver.resume(running.key)

    def test_all_processes_of_a_paused_container_stand_still(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "pause")
        running = containers.start(command("sh", "-c", f"({_BUSY}) & sleep 1000 & wait"))
        driver = containers.driver
        until(lambda: len(driver.processes(running.key, running.pid)) == 3, lambda: "it has not got its processes")
        driver.pause(running.key)
        before = [used(pid) for pid in driver.processes(running.key, running.pid)]
        assert len(before) == 3
        time.sleep(_LONG_ENOUGH)
        assert [used(pid) for pid in driver.processes(running.key, running.pid)] == before
        driver.resume(running.key)

    def test_a_container_that_goes_on_is_not_called_frozen(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        """What is frozen may be called so: a runtime that cannot tell says no."""
        running = containers.start(command("sleep", "1000"))
        assert containers.driver.frozen(running.key) is False
        if features.pause:
            containers.driver.pause(running.key)
            assert containers.driver.frozen(running.key) in (True, False)
            containers.driver.resume(running.key)
            assert containers.driver.frozen(running.key) is False

    def test_one_that_others_have_frozen_is_called_frozen_by_who_can_tell(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "pause")
        running = containers.start(command("sleep", "1000"))
        containers.driver.pause(running.key)
        tells = containers.driver.frozen(running.key)
        containers.driver.resume(running.key)
        if not tells:
            pytest.skip("this runtime cannot tell")
        freeze(running, True)
        until(lambda: containers.driver.frozen(running.key), lambda: "it was frozen through its cgroup, and is not so")
        freeze(running, False)
        until(lambda: not containers.driver.frozen(running.key), lambda: "it was thawed, and is called frozen")

    def test_one_that_others_have_frozen_can_be_removed(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "pause")
        running = containers.start(command("sleep", "1000"))
        freeze(running, True)
        containers.driver.remove(running.key)
        assert running.wait().code == 137

    def test_a_paused_container_can_be_removed(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "pause")
        running = containers.start(command("sleep", "1000"))
        containers.driver.pause(running.key)
        containers.driver.remove(running.key)
        assert running.wait().code == 137

    def test_removing_kills_whatever_is_left(self, containers: Containers) -> None:
        running = containers.start(command("sh", "-c", "trap '' TERM HUP INT; sleep 1000 & sleep 1000"))
        containers.driver.remove(running.key)
        assert running.wait().code == 137

    def test_removing_can_be_repeated_and_needs_nothing(self, containers: Containers) -> None:
        running = containers.start(command("true"))
        running.finish()
        containers.driver.remove(running.key)
        containers.driver.remove(running.key)
        containers.driver.remove("f" * 64)

    def test_removing_at_the_same_time_from_everywhere(self, containers: Containers) -> None:
        root = containers.root()
        keys = [containers.start(command("sleep", "1000"), root=root).key for _ in range(4)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(containers.driver.remove, keys * 3)) == [None] * 12
        containers.assert_traces(set())

    def test_all_that_was_made_goes_with_the_exit_alone(self, containers: Containers) -> None:
        """The monitor cleans up by itself: no daemon needs to be there when a container ends."""
        before = containers.traces()
        running = containers.start(command("sh", "-c", "sleep 1000 & exit 0"))
        running.finish()
        containers.assert_traces(before)
