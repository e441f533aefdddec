"""The first moments of a program, in which a signal would be lost on it.

Process 1 of a PID namespace does not notice signals that it has no handler for (pid_namespaces(7)), and no program has
a handler before it has made one. Who stops a container right after its start means the program, not the moment.
"""

from __future__ import annotations

import time

from sampan.containers import timestamps

MOMENTS = 0.1  # seconds after the start
_STEP = 0.002
_MASKS = ("SigBlk:", "SigIgn:", "SigCgt:")


def wait(pid: int, started_at: str, number: int) -> None:
    """Until the process does something about the signal, has ended, or has run for a tenth of a second."""
    end = time.monotonic() + MOMENTS - (time.time_ns() - timestamps.nanoseconds(started_at)) / 1e9
    while time.monotonic() < end and not heeds(pid, number):
        time.sleep(_STEP)


def heeds(pid: int, number: int) -> bool:
    """Does the process catch, block or ignore the signal, or not exist any more? (proc_pid_status(5))"""
    try:
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - read often
            masks = [line.split()[1] for line in status if line.startswith(_MASKS)]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)
