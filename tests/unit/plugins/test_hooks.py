"""Hooks: they amend and watch; one that fails spoils nothing."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sampan.drivers import hookimpl
from sampan.hooks import HookCaller

Package = Callable[..., str]

CONTAINER = {"id": "1", "name": "boat"}


def test_a_hook_of_a_package_amends_the_spec(package: Package) -> None:
    code = """
        from sampan.drivers import hookimpl

        @hookimpl
        def container_starting(container, spec):
            spec["annotations"] = {"name": container["name"]}
    """
    package("sampan.hooks", "amend = {module}", code)
    spec: dict[str, Any] = {}
    HookCaller().starting(CONTAINER, spec)
    assert spec == {"annotations": {"name": "boat"}}


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
            spec["last"] = True

    hooks = HookCaller()
    for plugin in (First(), Failing(), Last()):
        hooks.register(plugin, type(plugin).__name__)
    spec: dict[str, Any] = {"process": {"args": ["true"]}}
    hooks.starting(CONTAINER, spec)
    assert spec == {"process": {"args": ["true"]}, "first": True, "last": True}
    assert "container_starting of Failing failed" in caplog.text


def test_events_are_told_without_waiting() -> None:
    heard: queue.Queue[str] = queue.Queue()
    gate = threading.Event()

    class Slow:
        @hookimpl
        def container_event(self, event: dict[str, Any]) -> None:
            gate.wait(30)
            heard.put(event["Action"])
            raise ValueError

    hooks = HookCaller()
    hooks.register(Slow(), "slow")
    for action in ("create", "start"):
        hooks.event({"Action": action})
    assert heard.empty()
    gate.set()
    assert [heard.get(timeout=10), heard.get(timeout=10)] == ["create", "start"]


def test_too_many_waiting_events_are_dropped_not_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.hooks.WAITING", 2)
    gate = threading.Event()

    class Stuck:
        @hookimpl
        def container_event(self, event: dict[str, Any]) -> None:
            gate.wait(30)

    hooks = HookCaller()
    hooks.register(Stuck(), "stuck")
    for _ in range(5):
        hooks.event({"Action": "die"})
    gate.set()
    assert "too slow: the event die" in caplog.text


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
