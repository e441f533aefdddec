"""When nothing happens, nothing of an engine wakes up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness import Engine
from sampan.linux import process

pytestmark = pytest.mark.root

QUIET = 1.5  # seconds


def wakes(pid: int) -> int:
    """How often the threads of a process have gone to sleep so far (proc_pid_status(5))."""
    lines = [
        line
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for line in (thread / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    ]
    return sum(int(line.split()[1]) for line in lines)


def test_an_idle_engine_sleeps(engine: Engine, shell: str) -> None:
    engine.docker(
        "run", "-d", "--name", "often", "--health-cmd", "true", "--health-interval", "50ms", shell, "sleep", "99"
    ).ok()
    engine.docker("run", "-d", "--name", "boat", "--restart", "always", shell, "sleep", "1000").ok()
    engine.docker("rm", "-f", "often").ok()
    assert engine.daemon
    init = engine.api("GET", "/containers/boat/json")[1]["State"]["Pid"]
    idle = [engine.daemon.pid, process.parent(init) or 0]

    def quiet() -> bool:
        before = [wakes(pid) for pid in idle]
        time.sleep(QUIET)
        return [wakes(pid) for pid in idle] == before

    engine.wait_until(quiet, "nothing wakes up", patience=15)
    engine.docker("rm", "-f", "boat").ok()
