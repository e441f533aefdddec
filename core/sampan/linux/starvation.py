"""Hearing when the kernel kills for want of memory in a group, without polling.

Version 1: an eventfd that is announced in ``cgroup.event_control`` (admin-guide/cgroup-v1/memory.rst, "OOM Control").
Version 2: a change of ``memory.events``, which inotify(7) sees (admin-guide/cgroup-v2.rst). Either way the descriptor
polls readable at most a moment before the counters have grown, and again when the group goes.
"""

from __future__ import annotations

import ctypes
import os

from sampan.linux import cgroups
from sampan.linux.syscalls import libc

_IN_MODIFY = 0x2


def listen_1(group: str) -> int:
    """A descriptor for a group of version 1. ``OSError`` if it is gone."""
    control = os.open(f"{group}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
    try:
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            cgroups.write(f"{group}/cgroup.event_control", f"{event} {control}")
        except OSError:
            os.close(event)
            raise
        return event
    finally:
        os.close(control)


def listen_2(group: str) -> int:
    """The same for version 2."""
    fd: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(f"{group}/memory.events"), _IN_MODIFY) < 0:
        number = ctypes.get_errno()
        if fd >= 0:
            os.close(fd)
        raise OSError(number, os.strerror(number), f"{group}/memory.events")
    return fd
