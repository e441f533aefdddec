"""Inits that wait for containers: who they serve, and that what they give is what was asked for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness import Engine
from harness.leftovers import LAUNCHER, WAITING, may_launch, processes
from sampan.linux import process

pytestmark = pytest.mark.root

IDLE = 0.5  # seconds, by which those that wait are older than what is made for a container


def began(pid: int) -> float:
    """Seconds since the boot (proc_pid_stat(5), starttime)."""
    ticks = process.start_time(pid)
    assert ticks is not None
    return ticks / 100


def now() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def those_that_wait(engine: Engine) -> set[str]:
    groups = Path(f"/sys/fs/cgroup/pids/sampan-{engine.instance}").glob("ready-*/tasks")
    return {pid for tasks in groups for pid in tasks.read_text().split()}


def nobody_came(engine: Engine) -> bool:
    before = those_that_wait(engine)
    time.sleep(IDLE)
    return those_that_wait(engine) == before


def waits(engine: Engine, shell: str, *flags: str) -> bool:
    """Was the container's init there before the container was asked for?"""
    engine.wait_until(lambda: nobody_came(engine), "as many wait as ever will")
    asked = now()
    name = engine.docker("run", "-d", *flags, shell, "sleep", "60").out
    pid = int(engine.docker("inspect", "-f", "{{.State.Pid}}", name).out)
    before = began(pid) < asked - IDLE / 4
    engine.docker("rm", "-f", name).ok()
    return before


@pytest.mark.needs("ready")
@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["-m", "64m", "--cpus", "0.5", "--pids-limit", "20"],
        ["-e", "A=1", "-u", "7", "-w", "/tmp", "-h", "keel", "-t", "-i"],
        ["-v", "/etc:/mnt", "--tmpfs", "/run", "--read-only"],
        ["--device", "/dev/null:/dev/hole", "--cap-drop", "ALL", "--shm-size", "1m"],
        ["--network", "host"],
    ],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_most_containers_find_one(engine: Engine, shell: str, flags: list[str]) -> None:
    if not Path("/sys/fs/cgroup/devices").is_mount():
        pytest.skip("version 2 of cgroups: their groups cannot be renamed")
    assert waits(engine, shell, *flags)


@pytest.mark.parametrize("flags", [["--privileged"], ["--cap-add", "SYS_ADMIN"], ["--pid", "host"]], ids=" ".join)
def test_others_get_one_that_is_made_for_them(engine: Engine, shell: str, flags: list[str]) -> None:
    assert not waits(engine, shell, *flags)


def test_what_is_asked_for_is_there(engine: Engine, shell: str) -> None:
    script = """
    stat -f -c %b:%S /dev/shm; stat -c %t:%T /dev/hole; cat /proc/self/oom_score_adj; wc -c < /proc/timer_list
    echo 1 > /proc/sys/kernel/panic || echo read-only; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max
    """
    flags = ["--shm-size", "1m", "--device", "/dev/full:/dev/hole", "--oom-score-adj", "7", "--pids-limit", "33"]
    found = engine.docker("run", "--rm", *flags, shell, "sh", "-c", script).stdout.split()
    assert found == ["256:4096", "1:7", "7", "0", "read-only", "33"]


@pytest.mark.needs("own_init")  # of others, fewer processes wait
def test_who_waits_is_not_counted_as_left_behind_and_who_watches_is(engine: Engine, shell: str) -> None:
    """Of the harness: however many happened to wait when it looked first."""

    def everybody_waits() -> bool:
        return sum(map(may_launch, processes(engine.net))) == WAITING

    engine.wait_until(everybody_waits, "as many wait as ever will")
    [launcher] = [pid for pid in processes(engine.net) if Path(f"/proc/{pid}/comm").read_text() == "sampan-launcher\n"]
    os.kill(launcher, signal.SIGSTOP)  # nobody comes after those that are taken
    try:
        boat = engine.docker("run", "-d", shell, "sleep", "60").out
        before = engine.leftovers()
    finally:
        os.kill(launcher, signal.SIGCONT)
    engine.wait_until(everybody_waits, "those that were taken have been replaced")
    assert engine.leftovers().beyond(before) == {}
    engine.docker("exec", "-d", boat, "sleep", "60").ok()
    left = engine.leftovers().beyond(before)["processes"]
    assert [name for name in left if LAUNCHER in name], left
    engine.docker("rm", "-f", boat).ok()
    engine.assert_as_before(before)
