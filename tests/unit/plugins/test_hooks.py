"""Hooks: they amend and watch; one that fails or hangs spoils nothing, and is named."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sampan import hooks as calling
from sampan.config import Config
from sampan.drivers import hookimpl
from sampan.drivers.steps import Trail
from sampan.hooks import HookCaller
from sampan.plugins import Drivers

Package = Callable[..., str]

CONTAINER = {"id": "1", "name": "boat"}
PATIENCE = 10.0


def spec() -> dict[str, Any]:
    return {"process": {"args": ["true"]}}


def of(*plugins: object, patience: float = PATIENCE) -> HookCaller:
    hooks = HookCaller(patience)
    for plugin in plugins:
        hooks.register(plugin, type(plugin).__name__)
    return hooks


def event(action: str, noun: str = "container") -> dict[str, Any]:
    return {"Type": noun, "Action": action, "Actor": {"ID": "1", "Attributes": {}}}


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs in a test goes on when it is over."""
    made = threading.Event()
    yield made
    made.set()


def test_hooks_of_a_package_amend_spec_and_labels(package: Package) -> None:
    code = """
        from sampan.drivers import hookimpl

        @hookimpl
        def container_starting(container, spec):
            spec["annotations"] = {"name": container["name"]}

        @hookimpl
        def container_creating(labels):
            labels["fleet"] = "north"
    """
    package("sampan.hooks", "amend = {module}", code)
    hooks = HookCaller()
    amended = spec()
    hooks.starting(CONTAINER, amended)
    assert amended == {**spec(), "annotations": {"name": "boat"}}
    labels = {"own": "1"}
    hooks.creating(CONTAINER, labels)
    assert labels == {"own": "1", "fleet": "north"}


def test_what_a_failing_hook_did_is_taken_back_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    class First:
        @hookimpl
        def container_starting(self, spec: dict[str, Any]) -> None:
            spec["first"] = True

    class Failing:
        @hookimpl
        def container_starting(self, spec: dict[str, Any]) -> None:
            spec["process"]["args"].append("rubbish")
            raise RuntimeError("overboard")

    class Last:
        @hookimpl(trylast=True)
        def container_starting(self, spec: dict[str, Any]) -> None:
            assert spec["first"]
            spec["last"] = True

    amended = spec()
    of(First(), Failing(), Last()).starting(CONTAINER, amended)
    assert amended == {**spec(), "first": True, "last": True}
    assert "container_starting of Failing raised RuntimeError: overboard, and was passed over" in caplog.text


def test_a_hook_that_hangs_is_passed_over_until_it_comes_back(
    caplog: pytest.LogCaptureFixture, gate: threading.Event
) -> None:
    calls: queue.Queue[str] = queue.Queue()

    class Hanging:
        @hookimpl
        def container_starting(self, spec: dict[str, Any]) -> None:
            calls.put("called")
            gate.wait(30)
            spec["process"]["args"] = ["too late"]
            calls.put("back")

    class Quick:
        @hookimpl(trylast=True)
        def container_starting(self, spec: dict[str, Any]) -> None:
            spec["quick"] = True

    hooks = of(Hanging(), Quick(), patience=0.1)
    first, second = spec(), spec()
    hooks.starting(CONTAINER, first)
    begun = time.monotonic()
    hooks.starting(CONTAINER, second)
    assert time.monotonic() - begun < 0.1, "a second container waited for what hangs already"
    assert calls.qsize() == 1
    gate.set()
    assert [calls.get(timeout=10), calls.get(timeout=10)] == ["called", "back"]
    assert first == second == {**spec(), "quick": True}, "what it changed after its time was taken over"
    assert "Hanging has not come back for 0.1 seconds" in caplog.text
    third = spec()
    deadline = time.monotonic() + 10
    while third["process"]["args"] != ["too late"]:
        assert time.monotonic() < deadline, "it was never called again"
        hooks.starting(CONTAINER, third)


def test_a_hook_that_hangs_holds_up_nobody_who_did_not_wait_with_it(gate: threading.Event) -> None:
    class Hanging:
        @hookimpl
        def container_starting(self, container: dict[str, Any]) -> None:
            if container["id"] == "slow":
                gate.wait(30)

    hooks = of(Hanging(), patience=20.0)
    waiting = threading.Thread(target=hooks.starting, args=({"id": "slow"}, spec()), daemon=True)
    waiting.start()
    begun = time.monotonic()
    hooks.starting(CONTAINER, spec())
    assert time.monotonic() - begun < 5
    assert waiting.is_alive()


NONSENSE: list[tuple[str, Any, str]] = [
    ("process", None, "process"),
    ("process", {"args": "sleep 1"}, "process.args"),
    ("process", {"args": [1]}, "process.args"),
    ("mounts", [{"source": "/"}], "destination"),
    ("annotations", {"n": 1}, "annotations"),
    ("linux", {"resources": {1, 2}}, "spec.linux.resources is a set"),
    ("extra", {1: 2}, "no text"),
]


@pytest.mark.parametrize(("key", "value", "named"), NONSENSE)
def test_a_spec_that_no_container_could_be_started_with_is_not_taken_over(
    caplog: pytest.LogCaptureFixture, key: str, value: Any, named: str
) -> None:
    class Nonsense:
        @hookimpl
        def container_starting(self, spec: dict[str, Any]) -> None:
            spec[key] = value

    amended = spec()
    of(Nonsense()).starting(CONTAINER, amended)
    assert amended == spec()
    assert "container_starting of Nonsense left no usable spec" in caplog.text
    assert named in caplog.text


def test_labels_are_text_or_are_not_taken_over(caplog: pytest.LogCaptureFixture) -> None:
    class Nonsense:
        @hookimpl
        def container_creating(self, labels: dict[str, Any]) -> None:
            labels["crew"] = 5

    labels: dict[str, str] = {}
    of(Nonsense()).creating(CONTAINER, labels)
    assert labels == {}
    assert "left no usable labels" in caplog.text


def test_each_amending_hook_is_a_step_of_the_container() -> None:
    class Fine:
        @hookimpl
        def container_starting(self) -> None:
            return

    class Failing:
        @hookimpl
        def container_starting(self) -> None:
            raise ValueError

    with Trail() as trail:
        of(Failing(), Fine()).starting(CONTAINER, spec())
    told = {(step.what, step.kind, step.object) for step in trail.steps()}
    assert told == {("ask the hook container_starting", "hook", name) for name in ("Fine", "Failing, passed over")}


def test_events_reach_the_hooks_of_their_type_in_order_and_without_waiting(gate: threading.Event) -> None:
    heard: queue.Queue[str] = queue.Queue()

    class Slow:
        @hookimpl
        def container_event(self, event: dict[str, Any]) -> None:
            gate.wait(30)
            heard.put(event["Action"])
            event["Action"] = "mine now"
            raise ValueError

        @hookimpl
        def image_event(self, event: dict[str, Any]) -> None:
            heard.put(f"image {event['Action']}")

        @hookimpl
        def network_event(self, event: dict[str, Any]) -> None:
            heard.put(f"network {event['Action']}")

    hooks = of(Slow())
    events = [event("create"), event("start"), event("load", "image"), event("up", "daemon")]
    for each in events:
        hooks.event(each)
    assert heard.get(timeout=10) == "image load", "one that is slow held up another"
    hooks.event(event("connect", "network"))
    assert heard.get(timeout=10) == "network connect"
    gate.set()
    assert [heard.get(timeout=10), heard.get(timeout=10)] == ["create", "start"]
    assert events[0] == event("create")


def test_a_watching_hook_that_hangs_is_reported(caplog: pytest.LogCaptureFixture, gate: threading.Event) -> None:
    class Stuck:
        @hookimpl
        def volume_event(self) -> None:
            gate.wait(30)

    hooks = of(Stuck(), patience=0.05)
    hooks.event(event("create", "volume"))
    deadline = time.monotonic() + 10
    while "volume_event of Stuck has not come back for 0.05 seconds" not in caplog.text:
        assert time.monotonic() < deadline, "it was not reported"
        time.sleep(0.01)


def test_too_many_waiting_events_are_dropped_not_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    monkeypatch.setattr(calling, "WAITING", 2)

    class Stuck:
        @hookimpl
        def container_event(self) -> None:
            gate.wait(30)

    hooks = of(Stuck())
    for _ in range(50):
        hooks.event(event("die"))
    assert caplog.text.count("is too slow: it misses events, die the first") == 1


MISFITS = [
    ("def container_startng(spec): pass", "no hook called 'container_startng'"),
    ("def container_starting(spec, weather): pass", "weather"),
    ("def container_starting(spec): yield", ""),
    ("1 / 0", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("code", "reason"), MISFITS)
def test_hooks_that_do_not_fit_are_passed_over_by_name(
    package: Package, caplog: pytest.LogCaptureFixture, code: str, reason: str
) -> None:
    mark = "@hookimpl(hookwrapper=True)\n" if "yield" in code else "@hookimpl\n" if "def" in code else ""
    package("sampan.hooks", "odd = {module}", "from sampan.drivers import hookimpl\n" + mark + code)
    with caplog.at_level(logging.ERROR):
        hooks = HookCaller()
    assert "hooks odd (third_party_" in caplog.text
    assert reason in caplog.text
    hooks.starting(CONTAINER, {})
    [report] = hooks.report()
    assert (report.name, report.usable) == ("odd", False)
    assert reason in report.reason


def test_packages_with_hooks_are_listed_with_what_went_wrong(package: Package) -> None:
    code = """
        from sampan.drivers import hookimpl

        @hookimpl
        def container_starting(container):
            if container["name"] == "boat":
                raise ValueError("no boats")

        @hookimpl
        def image_event(event):
            pass
    """
    package("sampan.hooks", "picky = {module}", code)
    drivers = Drivers(Config(), "0123abcd")
    [found] = [found for found in drivers.found() if found.family == "hooks"]
    assert (found.name, found.usable, found.reason) == ("picky", True, "")
    assert found.features == {"hooks": ["container_starting", "image_event"]}
    drivers.hooks.starting(CONTAINER, spec())
    [found] = [found for found in drivers.found() if found.family == "hooks"]
    assert (found.usable, found.reason) == (True, "container_starting raised ValueError: no boats")
