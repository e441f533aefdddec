"""(j) What a daemon's start takes for its drivers: to find, import, make and check all of all families."""

from __future__ import annotations

import os
import subprocess
import sys

from reporting import OURS, Part, Row, within
from scratch import Scratch

GOAL = 150.0  # milliseconds

_LOAD = """
import sys, time
from pathlib import Path
import sampan.engine
from sampan.config import Config
from sampan.plugins import CONTRACTS, Drivers
root = Path(sys.argv[1])
begin, used = time.perf_counter(), time.process_time()
drivers = Drivers(Config(data_root=root / "data", exec_root=root / "exec"), "bench")
for family in CONTRACTS:
    drivers.loaded(family)
print(time.perf_counter() - begin, time.process_time() - used)
"""
"""In a fresh interpreter, which has imported already what a daemon has by then."""


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part("all drivers loaded at a daemon's start", "ms")
    part.notes.append("third parties' drivers that are installed count, too; the first run compiles, and is left out")
    times: list[list[float]] = []
    for run in range(runs + 1):
        scratch.tell(f"(j) run {run} of {runs}")
        command = [sys.executable, "-c", _LOAD, scratch.directory / "loading"]
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
        times.append([float(word) for word in done.stdout.split()])
    part.rows = [
        Row("by the clock", {OURS: [wall for wall, _ in times[1:]]}, within(GOAL)),
        Row("of the processor", {OURS: [used for _, used in times[1:]]}),
    ]
    return part


def _environment() -> dict[str, str]:
    """Modules are compiled once, as they are where sampan was installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
