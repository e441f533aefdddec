"""An execve that is seen from outside. Tried in an interpreter of its own: tracing takes over all of its children."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.root

SCRIPT = """
import os, sys
sys.path[:0] = {path!r}
from sampan.linux import tracing
held, go = os.pipe()
traced = os.fork()
if traced == 0:
    os.read(held, 1)
    {does}
    os._exit(3)
assert tracing.watch(traced)
helper = os.fork()
if helper == 0:
    os.write(go, b"x")
    os._exit({status})
print(*tracing.executes(traced, helper))
if os.path.exists(f'/proc/{{traced}}'):
    os.kill(traced, 9)
"""


def seen(does: str, status: int = 0) -> str:
    code = SCRIPT.format(path=sys.path, does=does, status=status)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.mark.parametrize(
    ("does", "executed"),
    [
        ("os.execv('/bin/sleep', ['sleep', '100'])", True),
        ("os.execv('/bin/true', ['true'])", True),
        ("pass", False),
        ("os.kill(os.getpid(), 10)", False),
        (
            "import signal; signal.signal(10, lambda *_: os.execv('/bin/true', ['true'])); os.kill(os.getpid(), 10)",
            True,
        ),
        (
            "import threading as t; t.Thread(target=lambda: os.execv('/bin/true', ['true'])).start(); os.read(held, 1)",
            True,
        ),
    ],
    ids=["stays", "ends", "exits", "killed", "after a signal", "in a thread"],
)
def test_whether_it_executes_anything_is_seen(does: str, executed: bool) -> None:
    assert seen(does) == f"{executed} 0\n"


def test_a_helper_that_fails_ends_the_waiting() -> None:
    assert seen("os.read(held, 1); os.read(held, 1)", status=1) == "False 256\n"
