"""One more process in a running container."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.errors import NotFound, StartFailed
from sampan.testing.runtime.base import Base, in_a_world, need
from sampan.testing.runtime.containers import Containers, until
from sampan.testing.runtime.limits import eating
from sampan.testing.runtime.privileges import sets, status
from sampan.testing.runtime.spec import PATH, command, limits

_SLEEP = ("sleep", "1000")


class ExecTests(Base):
    @pytest.fixture(autouse=True)
    def _can_exec(self, request: pytest.FixtureRequest, features: RuntimeFeatures) -> None:
        if "exec" in request.node.name:
            need(features, "exec")

    @in_a_world
    def test_an_exec_runs_in_the_containers_world(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP, hostname="galley"))
        process = containers.exec(running, "sh", "-c", "hostname; cat /proc/1/cmdline; exec sleep 1000")
        process.until("sleep")
        assert process.out.startswith("galley\nsleep")
        for kind in ("mnt", "uts", "ipc", "pid", "net", "cgroup"):
            ours, theirs = (os.readlink(f"/proc/{each.pid}/ns/{kind}") for each in (process, running))  # noqa: PTH115
            assert ours == theirs, kind

    @pytest.mark.parametrize("code", [0, 5, 255])
    def test_an_execs_exit_code_comes_back(self, containers: Containers, code: int) -> None:
        running = containers.start(command(*_SLEEP))
        assert containers.execute(running, "sh", "-c", f"exit {code}").code == code

    @pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/etc/passwd", 126), ("/etc", 126)])
    def test_an_exec_of_what_cannot_be_executed_fails_with_the_shells_code(
        self, containers: Containers, program: str, code: int
    ) -> None:
        running = containers.start(command(*_SLEEP))
        before = containers.traces()
        with pytest.raises(StartFailed) as failure:
            containers.execute(running, program)
        assert failure.value.exit_code == code
        containers.assert_traces(before)
        assert containers.execute(running, "true").code == 0, "the container is none the worse for it"

    def test_an_exec_has_its_own_streams(self, containers: Containers) -> None:
        running = containers.start(command("sh", "-c", "echo init; sleep 1000"))
        process = containers.exec(running, "sh", "-c", "echo err >&2; cat")
        process.send("in")
        process.end_input()
        outcome = process.finish()
        assert (outcome.out, outcome.err) == ("in", "err\n")
        assert running.until("init") == "init\n"

    def test_an_exec_has_its_own_terminal(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "tty")
        running = containers.start(command(*_SLEEP))
        process = containers.exec(running, "sh", "-c", "read go; tty; stty size", terminal=True, size=(20, 60))
        process.send("\n")
        _, name, size = process.finish().out.splitlines()
        assert name.startswith("/dev/pts/")
        assert size == "20 60"

    def test_an_execs_terminal_can_be_resized(self, containers: Containers, features: RuntimeFeatures) -> None:
        need(features, "tty")
        running = containers.start(command(*_SLEEP))
        script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.02; done"
        process = containers.exec(running, "sh", "-c", script, terminal=True)
        process.until("ready")
        containers.resize(process, 11, 22)
        assert "11 22" in process.finish().out

    def test_an_exec_is_as_its_process_says(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        outcome = containers.execute(
            running,
            "sh",
            "-c",
            "id -u; id -g; pwd; echo $A; echo $HOME",
            user={"uid": 1000, "gid": 1000},
            capabilities={},
            cwd="/etc",
            env=[PATH, "A=b", "HOME=/home"],
        )
        assert outcome.out.split() == ["1000", "1000", "/etc", "b", "/home"]

    @in_a_world
    def test_an_exec_has_the_capabilities_that_it_was_given_and_no_others(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        found = sets(status(containers.execute(running, "cat", "/proc/self/status")))
        everything = sets(status(containers.run(command("cat", "/proc/self/status"))))
        assert found == everything
        held = {kind: ["CAP_CHOWN"] for kind in ("bounding", "effective", "permitted")}
        found = sets(status(containers.execute(running, "cat", "/proc/self/status", capabilities=held)))
        assert found == {"CapBnd": 1, "CapEff": 1, "CapPrm": 1, "CapInh": 0, "CapAmb": 0}

    @in_a_world
    def test_an_exec_has_no_descriptor_or_ignored_signal_of_ours(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        assert containers.execute(running, "ls", "/proc/self/fd").out.split() == ["0", "1", "2", "3"]
        found = status(containers.execute(running, "cat", "/proc/self/status"))
        assert {name: int(found[name], 16) for name in ("SigIgn", "SigBlk")} == {"SigIgn": 0, "SigBlk": 0}

    @in_a_world
    def test_an_execs_user_may_open_its_streams_again(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        user = {"uid": 1000, "gid": 1000}
        outcome = containers.execute(running, "sh", "-c", "echo out > /dev/stdout", user=user, capabilities={})
        assert outcome.out == "out\n"

    @in_a_world
    def test_an_exec_is_one_of_the_containers_processes_and_under_its_limits(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP, linux=limits(memory={"limit": 48 << 20})))
        process = containers.exec(running, *_SLEEP)
        assert containers.driver.processes(running.key, running.pid) == [running.pid, process.pid]
        containers.driver.signal(running.key, process.pid, 9)
        assert process.finish().code == 137
        assert containers.execute(running, "sh", "-c", f"exec {eating(200)}").code == 137

    def test_an_exec_ends_with_its_container(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        process = containers.exec(running, *_SLEEP)
        containers.kill(running)
        assert running.finish().code == 137
        assert process.finish().code == 137

    def test_the_end_of_an_exec_is_not_the_end_of_its_container(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        process = containers.exec(running, *_SLEEP)
        containers.driver.signal(running.key, process.pid, 9)
        assert process.finish().code == 137
        assert Path(f"/proc/{running.pid}").exists()

    def test_what_an_exec_left_running_is_the_containers(self, containers: Containers) -> None:
        running = containers.start(command(*_SLEEP))
        outcome = containers.execute(running, "sh", "-c", "sleep 999 </dev/null >/dev/null 2>&1 & echo left")
        assert outcome.out == "left\n"
        until(
            lambda: len(containers.driver.processes(running.key, running.pid)) == 2,
            lambda: "the process that the exec left is not one of the container's",
        )

    def test_no_exec_after_the_end(self, containers: Containers) -> None:
        running = containers.start(command("true"))
        running.finish()
        before = containers.traces()
        with pytest.raises((NotFound, StartFailed)):
            containers.exec(running, "true")
        containers.assert_traces(before)

    def test_an_exec_that_meets_the_end_is_told_so(self, containers: Containers) -> None:
        running = containers.start(command("sh", "-c", "read go"))
        running.send("\n")
        with contextlib.suppress(NotFound, StartFailed):
            for _ in range(200):
                containers.execute(running, "true")
        running.finish()
