"""Ending a container whose runtime driver hangs, or has fallen over: SIGKILL needs nobody's help."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from sampan.types import State

_BETWEEN = 4  # processes between a monitor and its container's init, at most: keepers, programs from elsewhere


def kill(state: State) -> bool:
    """Kill the init of a container that runs, and so all in its PID namespace; False if it cannot be found.

    Only what descends from its monitor is killed: the number might be somebody else's by now.
    """
    try:
        fd = os.pidfd_open(state.pid)
    except OSError:
        return False
    try:
        if not _descends(state.pid, state.monitor):
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _descends(pid: int, monitor: int) -> bool:
    for _ in range(_BETWEEN):
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
        if pid in (0, monitor):
            break
    return pid == monitor != 0
