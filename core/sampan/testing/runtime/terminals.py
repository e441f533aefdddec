"""Containers with a terminal."""

from __future__ import annotations

import re

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.testing.runtime.base import Base, need
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import command

_TERMINAL = {"terminal": True}


class TerminalTests(Base):
    @pytest.fixture(autouse=True)
    def _has_terminals(self, request: pytest.FixtureRequest, features: RuntimeFeatures) -> None:
        if "terminal" in request.node.name:
            need(features, "tty")

    def test_a_terminal_has_a_name_that_means_something_inside(self, containers: Containers) -> None:
        spec = command("sh", "-c", "tty; test -c $(tty) && test -t 0 -a -t 1 -a -t 2 && echo yes", process=_TERMINAL)
        name, answer = containers.run(spec).out.split()
        assert re.fullmatch(r"/dev/pts/\d+", name)
        assert answer == "yes"

    def test_a_terminal_is_the_controlling_one_and_the_console(self, containers: Containers) -> None:
        spec = command("sh", "-c", "echo hello > /dev/tty; echo again > /dev/console", process=_TERMINAL)
        assert containers.run(spec).out == "hello\r\nagain\r\n"

    def test_a_terminal_belongs_to_the_user(self, containers: Containers) -> None:
        user = {"uid": 1000, "gid": 1000}
        script = "stat -c %u $(tty); echo open > $(tty)"
        spec = command("sh", "-c", script, process={"terminal": True, "user": user, "capabilities": {}})
        assert containers.run(spec).out == "1000\r\nopen\r\n"

    def test_a_terminals_first_size_is_the_one_asked_for(self, containers: Containers) -> None:
        running = containers.start(command("sh", "-c", "read go; stty size", process=_TERMINAL), size=(33, 77))
        running.send("\n")
        assert "33 77" in running.finish().out

    def test_a_resized_terminal_tells_its_processes(self, containers: Containers) -> None:
        script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.02; done"
        running = containers.start(command("sh", "-c", script, process=_TERMINAL))
        running.until("ready")
        containers.resize(running, 40, 132)
        assert "40 132" in running.finish().out

    def test_control_c_on_a_terminal_interrupts(self, containers: Containers) -> None:
        script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.02; done"
        running = containers.start(command("sh", "-c", script, process=_TERMINAL))
        running.until("ready")
        running.send("\x03")
        outcome = running.finish()
        assert "interrupted" in outcome.out
        assert outcome.code == 9

    def test_control_d_on_a_terminal_ends_the_input(self, containers: Containers) -> None:
        running = containers.start(command("cat", process=_TERMINAL))
        running.send("hello\n")
        running.until("hello\r\nhello")
        running.send("\x04")
        assert running.finish().code == 0

    def test_with_a_terminal_too_no_other_descriptor_is_open(self, containers: Containers) -> None:
        assert containers.run(command("ls", "/proc/self/fd", process=_TERMINAL)).out.split() == ["0", "1", "2", "3"]
