"""Standard input, output and error of containers without a terminal."""

from __future__ import annotations

from sampan.testing.runtime.base import Base, in_a_world
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import command

_MEGABYTE = 1 << 20


class StreamTests(Base):
    def test_output_and_error_are_apart(self, containers: Containers) -> None:
        outcome = containers.run(command("sh", "-c", "echo out; echo err >&2"))
        assert (outcome.out, outcome.err) == ("out\n", "err\n")

    def test_input_goes_in_and_its_end_is_seen(self, containers: Containers) -> None:
        assert containers.run(command("cat"), stdin="one\ntwo").out == "one\ntwo"

    def test_without_input_there_is_an_end_of_file_at_once(self, containers: Containers) -> None:
        assert containers.run(command("sh", "-c", "read line || echo nothing")).out == "nothing\n"

    def test_a_conversation_is_not_held_up(self, containers: Containers) -> None:
        running = containers.start(command("cat"))
        for word in ("ping\n", "pong\n"):
            running.send(word)
            assert running.until(word).endswith(word)
        running.end_input()
        assert running.finish().code == 0

    def test_nothing_of_a_large_output_is_lost_though_the_process_ends(self, containers: Containers) -> None:
        outcome = containers.run(command("dd", "if=/dev/zero", "bs=1M", "count=8"))
        assert len(outcome.out) == 8 * _MEGABYTE

    def test_a_large_input_comes_back_whole(self, containers: Containers) -> None:
        text = "x" * (_MEGABYTE // 2)
        assert containers.run(command("cat"), stdin=text).out == text

    @in_a_world
    def test_anybody_may_open_their_own_streams_again(self, containers: Containers) -> None:
        """Images write logs to links to ``/dev/stdout`` and ``/dev/stderr``, and run as some user."""
        script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin"
        spec = command("sh", "-c", script, process={"user": {"uid": 1000, "gid": 1000}, "capabilities": {}})
        outcome = containers.run(spec, stdin="in\n")
        assert (outcome.out, outcome.err) == ("out\nin\n", "err\n")

    @in_a_world
    def test_no_other_descriptor_of_ours_is_open_inside(self, containers: Containers) -> None:
        outcome = containers.run(command("ls", "/proc/self/fd"))
        assert outcome.out.split() == ["0", "1", "2", "3"], "3 is the directory that ls reads"
