"""``sampan explain``: steps for people, and a trace for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.cli.fake_daemon import Answer, Daemon, Result

Sampan = Callable[..., Result]

ID = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
MS = 1_000_000
NANOSECOND = 0.001  # in microseconds


def step(what: str, begin: float, took: float, who: str = "daemon", **more: Any) -> dict[str, Any]:
    blank = {
        "Kind": "",
        "Object": "",
        "Driver": "",
        "Pid": 7,
        "Thread": "api-1" if who == "daemon" else "",
        "Error": "",
    }
    return {"What": what, "Who": who, "Begin": int(begin * MS), "Took": int(took * MS), **blank, **more}


def explained(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    create = {"Name": "create", "At": "1970-01-01T00:00:01Z", "AtNano": 10**9, "Took": 2 * MS, "Error": "", "Steps": []}
    start = {**create, "Name": "start", "AtNano": 10**13, "Took": 10 * MS, "Steps": list(steps), **more}
    drivers = {"Storage": "vfs", "Runtime": "native", "Networks": ["bridge"]}
    about = {"Id": ID, "Name": "/web", "Image": "shell", "Status": "running", "Drivers": drivers}
    return {**about, "Operations": [create, start]}


STEPS = (
    step("mount the root", 0, 2, Kind="mount", Object=f"/l/{ID}", Driver="vfs"),
    step("stack", 0.5, 1, Kind="overlay"),
    step("join", 0.6, 3, Kind="endpoint", Thread="join_0"),
    step("start the init", 4, 6, Kind="process", Object="9"),
    step("make groups", 5, 1, "starter", Pid=8, Kind="cgroup", Object="/a /b /c"),
)


def test_steps_are_a_table_with_what_lies_in_what(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /sampan/containers/web/explain", explained(*STEPS))
    head, create, start = sampan("explain", "web").out.split("\n\n")
    assert head == "web (4f53cda18c2b) of shell, running\nstorage vfs · network bridge · runtime native"
    assert create.startswith("create: 2.00 ms, at 1970-01-01T00:00:01Z")
    assert start.splitlines()[1:] == [
        "  AT  TOOK  WHO             DRIVER  STEP            OBJECT",
        "0.00  2.00  daemon          vfs     mount the root  mount /l/4f53cda18c2b",
        "0.50  1.00  daemon                    stack         overlay",
        "0.60  3.00  daemon, beside          join            endpoint",
        "4.00  6.00  daemon                  start the init  process 9",
        "5.00  1.00  starter                   make groups   cgroup /a and 2 more",
    ]
    assert f"/l/{ID}" in sampan("explain", "--no-trunc", "web").out


def test_a_failure_is_told_where_it_happened(daemon: Daemon, sampan: Sampan) -> None:
    failed = step("join", 1, 1, Error="no bridge")
    daemon.on("GET /sampan/containers/web/explain", explained(failed, Error="no bridge"))
    out = sampan("explain", "web").out
    assert "and failed: no bridge" in out
    assert "join — failed: no bridge" in out


def test_as_json_it_is_the_daemons_answer(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /sampan/containers/web/explain", explained(*STEPS))
    assert json.loads(sampan("explain", "--format", "json", "web").out) == explained(*STEPS)


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--format", "xml", "web"], "text or json"), (["nobody"], "No such container"), (["old"], "nothing is known")],
)
def test_what_cannot_be_explained(daemon: Daemon, sampan: Sampan, words: list[str], reason: str) -> None:
    daemon.on("GET /sampan/containers/nobody/explain", Answer(404, {"message": "No such container: nobody"}))
    daemon.on("GET /sampan/containers/old/explain", {**explained(), "Operations": []})
    result = sampan("explain", *words)
    assert result.code == 1
    assert reason in result.err


def test_a_trace_that_cannot_be_written(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    daemon.on("GET /sampan/containers/web/explain", explained(*STEPS))
    result = sampan("explain", "--trace", str(tmp_path / "no" / "file"), "web")
    assert (result.code, "no such file" in result.err) == (1, True)


def test_the_trace_has_perfettos_shape(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    daemon.on("GET /sampan/containers/web/explain", explained(*STEPS))
    file = tmp_path / "web.json"
    sampan("explain", "--trace", str(file), "web")
    trace = json.loads(file.read_text())
    assert trace == json.loads(sampan("explain", "--trace", "-", "web").out)
    check_trace(trace)
    complete = {each["name"]: each for each in trace["traceEvents"] if each["ph"] == "X"}
    assert complete["start"]["ts"] == 12_000.0  # hours between creation and start are shown as ten milliseconds
    assert complete["stack"]["ts"] == 12_500.0
    assert complete["stack"]["dur"] == 1000.0
    assert complete["stack"]["tid"] == complete["mount the root"]["tid"] != complete["join"]["tid"]
    assert complete["make groups"]["pid"] == 8
    assert complete["mount the root"]["args"] == {"kind": "mount", "object": f"/l/{ID}", "driver": "vfs"}


def check_trace(trace: dict[str, Any]) -> None:
    """The "JSON Object Format" of the Trace Event Format: what Perfetto needs, and events of one thread that nest."""
    assert trace["displayTimeUnit"] == "ms"
    ends: dict[tuple[int, int], list[float]] = {}
    named = set()
    for event in trace["traceEvents"]:
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["name"], str)
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            named.add(event["pid"])
            continue
        assert event["ph"] == "X"
        assert event["pid"] in named
        assert min(event["ts"], event["dur"]) >= 0
        open_ones = ends.setdefault((event["pid"], event["tid"]), [])
        while open_ones and open_ones[-1] <= event["ts"] + NANOSECOND:
            open_ones.pop()
        assert all(event["ts"] + event["dur"] <= end + NANOSECOND for end in open_ones), f"{event} overlaps"
        open_ones.append(event["ts"] + event["dur"])
