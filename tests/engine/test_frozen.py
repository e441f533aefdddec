"""Containers that something outside the engine has frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


def freezing(engine: Engine, ident: str) -> tuple[Path, str, str]:
    """The file by which anybody on the host can freeze a container, and what to write into it."""
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", ident).out
    groups = [Path(path) for path in engine.leftovers().cgroups if path.endswith(ident)]
    groups = [group for group in groups if pid in (group / "cgroup.procs").read_text().split()]
    for group in groups:
        if (group / "freezer.state").exists():
            return group / "freezer.state", "FROZEN", "THAWED"
    [group] = [group for group in groups if (group / "cgroup.freeze").exists()]
    return group / "cgroup.freeze", "1", "0"


def test_a_container_that_others_have_frozen_hangs_nobody(engine: Engine, shell: str) -> None:
    """What needs a process of its own in it is refused; all else works; and it can be ended."""
    often = ["--health-interval", "100ms", "--health-timeout", "1s", "--health-retries", "1"]
    ident = engine.docker("run", "-d", "--name", "icebound", "--health-cmd", "true", *often, shell, "sleep", "1000").out
    file, freeze, thaw = freezing(engine, ident)
    engine.wait_until(lambda: engine.docker("exec", "icebound", "true").code == 0, "it works")
    file.write_text(freeze)
    refused = engine.docker("exec", "icebound", "true", timeout=5)
    assert (refused.code, "was frozen, but not by this engine" in refused.stderr) == (1, True)
    status = ["inspect", "-f", "{{.State.Health.Status}}", "icebound"]
    engine.wait_until(lambda: engine.docker(*status).out == "unhealthy", "its health is told")
    assert "sleep 1000" in engine.docker("top", "icebound", timeout=5).out
    engine.docker("stats", "--no-stream", "icebound", timeout=5).ok()
    engine.docker("cp", "icebound:/etc/hostname", "-", timeout=5).ok()
    engine.docker("cp", "/etc/hostname", "icebound:/name", timeout=5).ok()
    file.write_text(thaw)
    engine.docker("exec", "icebound", "cat", "/name").ok()
    for verb in (["kill"], ["stop", "-t", "1"], ["restart", "-t", "1"], ["rm", "-f"]):
        engine.docker("start", "icebound").ok()
        file.write_text(freeze)
        engine.docker(*verb, "icebound", timeout=8).ok()
