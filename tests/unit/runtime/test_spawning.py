"""A process without a copy of the one that makes it: what it becomes, and that nobody's orphan begins to run."""

from __future__ import annotations

import os
from typing import Any

import pytest

from sampan_runtime import steps
from sampan_runtime.native import spawning

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.uname().machine not in steps.MACHINES, reason=f"nothing is spawned on {os.uname().machine}"),
]


def order(*args: str, **changed: Any) -> dict[str, Any]:
    sets = dict.fromkeys(("bounding", "effective", "permitted", "inheritable"), 1 << 5)  # CAP_KILL
    return {
        "args": [each.encode() for each in args],
        "env": {b"PATH": b"/nowhere:/usr/bin:/bin", b"A": b"1"},
        "cwd": b"/usr",
        "umask": 0o027,
        "rlimits": [(7, 100, 200)],  # RLIMIT_NOFILE
        "uid": 1000,
        "gid": 1001,
        "groups": [1001, 1002],
        "capabilities": {**sets, "ambient": 1 << 5},
        "seccomp": b"",
        "no_new_privileges": True,
        "terminal": False,
        **changed,
    }


def spawn(wanted: dict[str, Any], out: int, monitor: int = 0) -> int:
    """The pid that a starter of ours got, which is our child; 0 if it got none. ``monitor`` stands for us."""
    steps.prepare()
    read, write = os.pipe()
    starter = os.fork()
    if starter == 0:
        if monitor:
            os.getppid = lambda: monitor
        null = os.open("/dev/null", os.O_RDWR)
        os.write(write, b"%d" % spawning.spawn(wanted, [], (null, out, out), None)[0])
        os._exit(0)
    os.waitpid(starter, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        return int(pipe.read())


def said_by(wanted: dict[str, Any]) -> str:
    read, write = os.pipe()
    pid = spawn(wanted, write)
    os.close(write)
    assert pid
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def test_it_is_what_its_order_says() -> None:
    script = "id -u; id -g; id -G; umask; pwd; ulimit -n; ulimit -Hn; echo $A; cat /proc/self/status"
    *told, status = said_by(order("sh", "-c", script)).split("\n", 8)
    assert told == ["1000", "1001", "1001 1002", "0027", "/usr", "100", "200", "1"]
    found = dict(line.split(":\t", 1) for line in status.splitlines())
    assert {found["CapEff"], found["CapPrm"], found["CapAmb"]} == {f"{1 << 5:016x}"}
    assert (found["SigBlk"], found["NoNewPrivs"]) == ("0" * 16, "1")


def test_nothing_else_is_open_in_it() -> None:
    assert said_by(order("ls", "/proc/self/fd")).split() == ["0", "1", "2", "3"], "the last is the directory's"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cwd": b"/no/such/directory"},
        {"args": [b"no-such-program"]},
        {"args": [b"/etc"]},
        {"capabilities": {"effective": 1 << 5, "permitted": 0, "inheritable": 0, "ambient": 0}},
    ],
    ids=["directory", "program", "not a program", "capabilities"],
)
def test_what_goes_wrong_is_left_to_the_usual_way(wrong: dict[str, Any]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    assert spawn(order("true", **wrong), null) == 0
    os.close(null)
    os.waitpid(-1, 0)


def test_it_does_not_begin_when_its_monitor_has_died() -> None:
    """The kernel's signal comes at the parent's death, and never if that came first (PR_SET_PDEATHSIG(2const))."""
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)  # it stays a zombie, and its pid its own
    null = os.open("/dev/null", os.O_RDWR)
    assert spawn(order("true"), null, monitor=dead) == 0
    os.close(null)
    os.waitpid(dead, 0)
    os.waitpid(-1, 0)
