"""Namespaces: namespaces(7), unshare(2), setns(2)."""

from __future__ import annotations

import ctypes

from sampan.linux.syscalls import call

CLONE_NEWTIME = 0x00000080
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

FLAGS = {
    "mount": CLONE_NEWNS,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
    "time": CLONE_NEWTIME,
}
"""The OCI runtime specification's names of the namespace types (config-linux.md, "Namespaces")."""

FILES = {
    "mount": "mnt",
    "uts": "uts",
    "ipc": "ipc",
    "pid": "pid",
    "network": "net",
    "cgroup": "cgroup",
    "user": "user",
    "time": "time",
}
"""The same names as ``/proc/PID/ns`` has them."""


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces; a new PID namespace is for its children (unshare(2))."""
    call("unshare", ctypes.c_int(flags), what="unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Move the calling thread into the namespace of ``fd``, or into those ``flags`` of a pidfd (setns(2))."""
    call("setns", ctypes.c_int(fd), ctypes.c_int(flags), what="setns")
