"""Limits that hold, change, and are told when they killed somebody; counters that count."""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.errors import Conflict, Invalid, NotFound
from sampan.linux import cgroups
from sampan.testing.runtime.base import Base, need
from sampan.testing.runtime.containers import Containers, until
from sampan.testing.runtime.spec import command, limits

_MB = 1 << 20
_BUSY = "while :; do :; done"


def eating(megabytes: int) -> str:
    """A shell command that uses so much memory at once."""
    return f"dd if=/dev/zero of=/dev/null bs={megabytes}M count=1 2>/dev/null"


class LimitTests(Base):
    def test_an_init_that_eats_more_than_its_memory_is_killed_and_it_is_told(self, containers: Containers) -> None:
        spec = command("sh", "-c", f"exec {eating(200)}", linux=limits(memory={"limit": 48 * _MB}))
        outcome = containers.run(spec)
        assert (outcome.code, outcome.oom) == (137, True)

    def test_it_is_told_too_when_it_was_only_a_process_of_the_inits(self, containers: Containers) -> None:
        outcome = containers.run(
            command("sh", "-c", f"{eating(200)}; exit 3", linux=limits(memory={"limit": 48 * _MB}))
        )
        assert (outcome.code, outcome.oom) == (3, True)

    def test_another_death_is_not_told_as_one_for_want_of_memory(self, containers: Containers) -> None:
        running = containers.start(command("sleep", "1000", linux=limits(memory={"limit": 48 * _MB})))
        containers.kill(running)
        assert not running.finish().oom

    def test_no_more_processes_than_allowed(self, containers: Containers) -> None:
        spec = command(
            "sh", "-c", "sleep 100 & sleep 100 & sleep 100 & sleep 100 & wait", linux=limits(pids={"limit": 3})
        )
        running = containers.start(spec)
        outcome = running.finish()
        assert "fork" in outcome.err
        assert outcome.code != 0

    def test_the_processor_is_rationed(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "stats")
        spec = command("sh", "-c", _BUSY, linux=limits(cpu={"quota": 5_000, "period": 50_000}))
        running = containers.start(spec)
        until(lambda: containers.driver.stats(running.key).throttled_periods >= 2, lambda: "it was never throttled")

    def test_counters_grow(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "stats")
        spec = command(
            "sh", "-c", f"sleep 1000 & {_BUSY}", linux=limits(memory={"limit": 64 * _MB}, pids={"limit": 50})
        )
        running = containers.start(spec)
        first = containers.driver.stats(running.key)
        until(lambda: containers.driver.stats(running.key).cpu_ns > first.cpu_ns + 20_000_000, lambda: "no time passed")
        until(lambda: containers.driver.stats(running.key).pids == 2, lambda: "there are two processes")
        last = containers.driver.stats(running.key)
        assert last.memory > 0
        assert (last.memory_limit, last.pids_limit) == (64 * _MB, 50)

    def test_without_limits_the_counters_say_so(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "stats")
        running = containers.start(command("sleep", "1000"))
        found = containers.driver.stats(running.key)
        assert (found.memory_limit, found.pids_limit) == (-1, -1)

    def test_an_ended_container_has_no_counters(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "stats")
        running = containers.start(command("true"))
        running.finish()
        containers.driver.remove(running.key)
        with pytest.raises(NotFound):
            containers.driver.stats(running.key)

    def test_less_memory_holds_at_once(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "update")
        script = f"{eating(80)} && echo enough; read go; {eating(80)} || echo too much"
        running = containers.start(command("sh", "-c", script, linux=limits(memory={"limit": 128 * _MB})))
        running.until("enough")
        containers.driver.update(running.key, {"memory": {"limit": 48 * _MB}})
        running.send("\n")
        outcome = running.finish()
        assert "too much" in outcome.out
        assert outcome.oom

    def test_more_memory_holds_at_once(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "update")
        running = containers.start(
            command("sh", "-c", f"read go; {eating(80)} && echo enough", linux=limits(memory={"limit": 48 * _MB}))
        )
        containers.driver.update(running.key, {"memory": {"limit": 128 * _MB}})
        running.send("\n")
        assert running.finish().out == "enough\n"

    def test_fewer_processes_hold_at_once(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "update")
        script = "sh -c 'exit 0' && echo enough; read go; sh -c 'exit 0'; echo not reached"
        running = containers.start(command("sh", "-c", script, linux=limits(pids={"limit": 10})))
        running.until("enough")
        containers.driver.update(running.key, {"pids": {"limit": 1}})
        running.send("\n")
        outcome = running.finish()
        assert "not reached" not in outcome.out
        assert "fork" in outcome.err

    def test_a_ration_of_the_processor_can_be_set_later(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "update")
        need(features, "stats")
        running = containers.start(command("sh", "-c", _BUSY))
        containers.driver.update(running.key, {"cpu": {"quota": 5_000, "period": 50_000}})
        until(lambda: containers.driver.stats(running.key).throttled_periods >= 2, lambda: "it was never throttled")

    def test_limits_change_all_or_none(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "update")
        need(features, "stats")
        running = containers.start(
            command("sleep", "1000", linux=limits(memory={"limit": 64 * _MB}, pids={"limit": 9}))
        )
        impossible = {"memory": {"limit": 96 * _MB}, "pids": {"limit": 5}, "cpu": {"cpus": "1-0"}}
        with pytest.raises(Invalid):
            containers.driver.update(running.key, impossible)
        found = containers.driver.stats(running.key)
        assert (found.memory_limit, found.pids_limit) == (64 * _MB, 9)

    def test_a_limit_below_what_is_in_use_is_a_conflict(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        """Where the kernel refuses it; that of version 2 kills what is too much."""
        need(features, "update")
        need(features, "stats")
        if "memory" not in cgroups.hierarchies() or len(Path("/proc/swaps").read_text().splitlines()) > 1:
            pytest.skip("this machine's kernel refuses no such limit")
        script = "head -c 40000000 /dev/zero > /dev/shm/full; echo full; sleep 1000"
        running = containers.start(command("sh", "-c", script, linux=limits(memory={"limit": 64 * _MB})))
        running.until("full")
        with pytest.raises(Conflict):
            containers.driver.update(running.key, {"memory": {"limit": 16 * _MB}})
        assert containers.driver.stats(running.key).memory_limit == 64 * _MB

    def test_limits_can_be_taken_away(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "update")
        need(features, "stats")
        running = containers.start(
            command("sleep", "1000", linux=limits(memory={"limit": 64 * _MB}, pids={"limit": 9}))
        )
        nothing = {
            "memory": {"limit": -1, "reservation": -1, "swap": -1},
            "cpu": {"shares": 0, "quota": -1, "period": 100_000, "cpus": "", "mems": ""},
            "pids": {"limit": -1},
            "blockIO": {"weight": 0},
        }
        containers.driver.update(running.key, nothing)
        found = containers.driver.stats(running.key)
        assert (found.memory_limit, found.pids_limit) == (-1, -1)

    def test_starving_is_heard_of(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "stats")
        script = f"read go; {eating(200)}; sleep 1000"
        running = containers.start(command("sh", "-c", script, linux=limits(memory={"limit": 48 * _MB})))
        news = containers.driver.starvation(running.key)
        if news is None:
            pytest.skip("this runtime cannot tell before the end")
        try:
            assert not select.select([news], [], [], 0)[0]
            running.send("\n")
            assert select.select([news], [], [], 20)[0]
            until(lambda: containers.driver.stats(running.key).oom_kills == 1, lambda: "it was not killed")
        finally:
            os.close(news)

    def test_an_ended_container_cannot_starve(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "stats")
        running = containers.start(command("true"))
        running.finish()
        containers.driver.remove(running.key)
        with contextlib.suppress(NotFound):
            assert containers.driver.starvation(running.key) is None

    def test_a_processor_can_be_told(self, containers: Containers) -> None:
        outcome = containers.run(
            command("grep", "Cpus_allowed_list", "/proc/self/status", linux=limits(cpu={"cpus": "0"}))
        )
        assert outcome.out.split()[-1] == "0"
