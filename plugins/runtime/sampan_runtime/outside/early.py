"""Having the kernel begin early with what such a program will have to wait for.

Whoever moves a process to another cgroup through ``cgroup.procs``, as these programs do, keeps all others from forking
meanwhile, and the kernel first waits for a grace period of RCU to make sure of that: 5 to 20 milliseconds, unless
somebody else has just waited for one (Linux, kernel/rcu/sync.c). So we wait for one beside the program's own beginning,
which takes it as long to be loaded and to read its configuration. Nothing is changed by it, and nothing needs it.
"""

from __future__ import annotations

import _thread
import os

from sampan.linux import cgroups
from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def expect_moves(hierarchies: dict[str, str]) -> None:
    """Processes will be moved between the groups of these hierarchies (``cgroups.hierarchies``).

    The calling process has a thread more from then on, until it ends: in the kernel, or asleep. It never runs while
    this one does, and so may be there whatever this one clones.
    """
    with suppress(OSError):
        door = _door(hierarchies)
        if door >= 0:
            begun, never = _thread.allocate_lock(), _thread.allocate_lock()
            begun.acquire()
            never.acquire()
            _thread.start_new_thread(_wait, (door, begun, never))
            begun.acquire()  # when we go on, it is in the kernel


def _door(hierarchies: dict[str, str]) -> int:
    """Of the group in which we are already, for to be moved there changes nothing. -1 if none is in sight."""
    for place, group in cgroups.own(hierarchies).items():
        with suppress(OSError):
            return os.open(f"{place}{group.rstrip('/')}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    return -1


def _wait(door: int, begun: Any, never: Any) -> None:
    begun.release()
    with suppress(OSError):
        os.write(door, b"0")
    never.acquire()
