"""Steps are written down while they are taken, kept beside the container, and told by any later daemon."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sampan.containers.clock import Clock
from sampan.containers.explaining import FILE, Explanations
from sampan.containers.monitors import Started
from sampan.drivers.steps import Trail, step
from sampan.errors import Unavailable
from sampan.linux import messages
from unit.containers.container_house import house


def test_steps_are_in_order_with_those_inside_after_their_own() -> None:
    with Trail() as trail, step("outer", "mount", "/x", "overlayfs"), step("inner") as here:
        here.object = "known only now"
    outer, inner = trail.steps()
    assert (outer.what, outer.kind, outer.object, outer.driver) == ("outer", "mount", "/x", "overlayfs")
    assert (inner.what, inner.object, inner.driver) == ("inner", "known only now", "overlayfs")
    assert 0 <= outer.begin <= inner.begin <= inner.end <= outer.end <= trail.last - trail.first


def test_a_step_off_any_trail_is_nothing() -> None:
    with step("nobody writes this down"):
        pass
    with Trail() as trail:
        other = threading.Thread(target=lambda: step("elsewhere").__enter__())
        other.start()
        other.join()
    assert trail.steps() == []


def test_another_thread_can_be_taken_along() -> None:
    def work() -> None:
        with step("beside"):
            pass

    with Trail() as trail:
        thread = threading.Thread(target=trail.run, args=(work,), name="helper")
        thread.start()
        thread.join()
    [beside] = trail.steps()
    assert (beside.what, beside.thread) == ("beside", "helper")


def test_the_step_that_failed_says_why() -> None:
    trail = Trail()
    with pytest.raises(Unavailable), trail, step("outer"), step("inner"):
        raise Unavailable("no room at the quay")
    assert [each.error for each in trail.steps()] == ["no room at the quay"] * 2
    assert trail.error == "no room at the quay"


def test_what_was_written_down_survives_the_daemon_and_goes_with_the_container(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    clock = Clock()
    first = Explanations(tmp_path, clock)
    with first.account("a", "create"), step("make it"):
        pass
    told = first.tell("a")
    assert [each.what for each in told["create"].steps] == ["make it"]
    assert not (tmp_path / "a" / FILE).exists()  # not while it starts
    first.write()
    assert (tmp_path / "a" / FILE).stat().st_mode & 0o777 == 0o600
    second = Explanations(tmp_path, clock)
    with second.account("a", "start"), step("start it"):
        pass
    assert second.tell("a")["create"] == told["create"]
    second.write()
    third = Explanations(tmp_path, clock)
    assert list(third.tell("a")) == ["create", "start"]
    (tmp_path / "a" / FILE).write_bytes(b'{"create": ')
    assert third.tell("a") == {}
    clock.close()


def test_nothing_is_written_for_a_container_that_is_forgotten_or_gone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    explanations = Explanations(tmp_path, Clock())
    for ident in ("a", "gone"):
        with explanations.account(ident, "create"), step("make it"):
            pass
    explanations.forget("a")
    explanations.write()
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_marks_of_other_processes_become_steps_from_mark_to_mark(tmp_path: Path) -> None:
    explanations = Explanations(tmp_path, Clock())
    with explanations.account("a", "start") as account:
        at = account.trail.first
        marks = [("", "", "", at + 10), ("make groups", "cgroup", "/g", at + 30), ("", "", "", at + 50)]
        told = [("starter", 7, [*marks, ("execute", "process", "8", at + 60)]), ("init", 0, [])]
        account.started(Started(8, 6, 0), at + 2, "native")
    explanations.reported("nobody", b"")
    explanations.reported("a", messages.dumps(told))
    monitor, groups, execute = explanations.tell("a")["start"].steps
    assert (monitor.who, monitor.pid, monitor.begin, monitor.end) == ("monitor", 6, 2, 10)
    assert (groups.who, groups.pid, groups.driver, groups.object) == ("starter", 7, "native", "/g")
    assert (groups.begin, groups.end, execute.begin, execute.end) == (10, 30, 50, 60)


def test_what_is_not_over_is_neither_told_nor_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    explanations = Explanations(tmp_path, Clock())
    with explanations.account("a", "start"):
        explanations.write()
        assert explanations.tell("a") == {}
        with step("the rest"):
            pass
    explanations.write()
    assert [each.what for each in explanations.tell("a")["start"].steps] == ["the rest"]


def test_a_start_that_fails_is_told_up_to_where_it_failed(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        record = made.create("boat")
        made.failing["monitors.start start"] = Unavailable("no monitor")
        with pytest.raises(Unavailable):
            made.containers.start("boat")
        told = made.containers.explain(record.id[:12])
        assert list(told) == ["create", "start"]
        assert told["create"].error == ""
        assert told["start"].error == "no monitor"
        assert [each.what for each in told["start"].steps if each.error] == ["have a monitor start the init"]
        del made.failing["monitors.start start"]
        made.containers.start("boat")
        assert made.containers.explain("boat")["start"].error == ""
