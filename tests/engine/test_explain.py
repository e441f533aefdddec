"""How containers were made is known: step by step, while they run, after their end, and to the next daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import Engine
from unit.cli.test_explain import check_trace

pytestmark = pytest.mark.root


def explained(engine: Engine, name: str) -> dict[str, Any]:
    status, told = engine.api("GET", f"/sampan/containers/{name}/explain")
    assert status == 200, told
    return {each["Name"]: each for each in told["Operations"]}


def test_every_plank_says_what_it_made(engine: Engine, docker_cli: str, shell: str) -> None:
    engine.docker("run", "-d", "--name", "told", "-p", "8080:80", "-v", "cargo:/data", shell, "sleep", "100").ok()
    told = explained(engine, "told")
    assert list(told) == ["create", "start"]
    steps = told["start"]["Steps"]
    state = json.loads(engine.docker("inspect", "told").out)[0]
    kinds = {step["Kind"]: step for step in steps}
    assert kinds["overlay"]["Driver"] == "overlayfs"
    assert kinds["netns"]["Object"].endswith(state["Id"])
    assert kinds["veth"]["Driver"] == "bridge"
    assert kinds["port"]["Object"] == "0.0.0.0:8080 to 80/tcp [::]:8080 to 80/tcp"
    assert "8080" in kinds["nft element"]["Object"]
    started = next(step for step in steps if step["What"] == "have a monitor start the init")
    assert started["Object"] == str(state["State"]["Pid"])
    for step in steps:
        assert 0 <= step["Begin"] <= step["Begin"] + step["Took"] <= told["start"]["Took"], step
    assert "cargo" in [step["Object"] for step in told["create"]["Steps"] if step["Kind"] == "volume"]


def test_the_processes_below_the_daemon_tell_theirs(engine: Engine, shell: str) -> None:
    engine.sampan("run", "-d", "--name", "below", shell, "sleep", "100").ok()
    steps = explained(engine, "below")["start"]["Steps"]
    monitor = next(step for step in steps if step["Who"] == "monitor")
    started = next(step for step in steps if step["What"] == "have a monitor start the init")
    assert Path(f"/proc/{monitor['Pid']}/comm").read_text().strip() == "sampan-monitor"
    below = [step for step in steps if step["Who"] != "daemon"]
    ends = started["Begin"] + started["Took"]
    assert all(started["Begin"] <= step["Begin"] <= step["Begin"] + step["Took"] <= ends for step in below)
    if engine.sampan("inspect", "-f", "{{.HostConfig.Runtime}}", "below").out == "native":
        groups = next(step for step in below if step["Kind"] == "cgroup")
        assert all(Path(group).is_dir() for group in groups["Object"].split())
        assert {"starter", "init"} <= {step["Who"] for step in below}


def test_it_is_known_after_the_end_and_to_the_next_daemon(engine: Engine, shell: str) -> None:
    engine.sampan("run", "--name", "over", shell, "true").ok()
    engine.sampan("create", "--name", "waits", shell, "true").ok()
    before = {name: explained(engine, name) for name in ("over", "waits")}
    assert list(before["waits"]) == ["create"]
    engine.stop()
    engine.start()
    assert {name: explained(engine, name) for name in ("over", "waits")} == before
    files = list((engine.root / "data" / "containers").glob("*/steps.json"))
    engine.wait_until(lambda: all(file.exists() for file in files), "steps are on disk")
    engine.sampan("rm", "over", "waits").ok()
    assert engine.api("GET", "/sampan/containers/over/explain")[0] == 404


def test_steps_reach_the_disk_without_a_clean_end(engine: Engine, shell: str) -> None:
    ident = engine.sampan("create", shell, "true").out
    engine.wait_until((engine.root / "data" / "containers" / ident / "steps.json").exists, "steps are on disk")
    engine.kill()
    engine.start()
    assert list(explained(engine, ident)) == ["create"]


def test_a_start_that_failed_says_in_which_step(engine: Engine, shell: str) -> None:
    engine.sampan("create", "--name", "stuck", shell, "/no/such/program").ok()
    assert engine.sampan("start", "stuck").code != 0
    told = explained(engine, "stuck")["start"]
    assert "no such file" in told["Error"]
    assert [step["What"] for step in told["Steps"] if step["Error"]] == ["have a monitor start the init"]
    assert "failed" in engine.sampan("explain", "stuck").out


def test_nothing_of_it_outlives_a_container(engine: Engine, shell: str, nothing_left: None) -> None:
    for _ in range(3):
        engine.sampan("run", "--rm", shell, "true").ok()
    ident = engine.sampan("run", "-d", shell, "sleep", "100").out
    engine.wait_until((engine.root / "data" / "containers" / ident / "steps.json").exists, "steps are on disk")
    engine.sampan("rm", "-f", ident).ok()


def test_the_trace_is_perfettos(engine: Engine, shell: str) -> None:
    engine.sampan("run", "--name", "traced", shell, "true").ok()
    file = engine.root / "trace.json"
    engine.sampan("explain", "--trace", file, "traced").ok()
    check_trace(json.loads(file.read_text()))
