"""A fuse that burns down with every act of a process and kills it at the end, as ``kill -9`` would.

An *act* is a return from something that may have changed the world: a system call that makes, moves, writes, signals
or forks, a database statement, a firewall transaction. The interpreter tells us (``sys.setprofile``), so the code
under test knows nothing of it, and a place where it may die is found by running through it, not listed by hand.

The fuse is a page shared by all processes of an engine: which role is to die, after how many acts, and where it did.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

OFF, DAEMON, LAUNCHER, MONITOR, STARTER, INIT = range(6)
ROLES = {"daemon": DAEMON, "launcher": LAUNCHER, "monitor": MONITOR, "starter": STARTER, "init": INIT}
NEVER = 1 << 60

_BECOMES = {"monitor/monitor.py serve": MONITOR, "monitor/starter.py _serve": STARTER, "native/init.py _guarded": INIT}
_NAMES = frozenset(name.split()[1] for name in _BECOMES)
_C_ACTS = frozenset(
    {"mkdir", "rename", "replace", "unlink", "remove", "rmdir", "symlink", "link", "mknod", "setxattr", "removexattr"}
    | {"open", "write", "send", "sendmsg", "sendall", "execute", "fsync", "ftruncate", "truncate", "chmod", "fchmod"}
    | {"chown", "fchown", "lchown", "utime", "kill", "pidfd_send_signal", "fork", "fork_exec", "connect", "bind"}
)
_OUR_ACTS = {"call": "syscalls", "syscall": "syscalls", "run": "nftables", "clone": "process"}
_WHERE = 16


class Fuse:
    """The test's side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.role = OFF
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def light(self, role: int, acts: int = NEVER) -> None:
        """Let ``role`` die after so many acts from now on."""
        self.role = role
        self.page[_WHERE:] = bytes(mmap.PAGESIZE - _WHERE)
        self.page[8:16] = acts.to_bytes(8, "little")
        self.page[0] = role

    def put_out(self) -> int:
        """Let nobody die any more; how many acts were left. Who is about to die is waited for, to the place."""
        self.page[0] = OFF
        for _ in range(1000):
            if self._left or self.where:
                break
            time.sleep(0.001)
        return self._left

    @property
    def _left(self) -> int:
        return int.from_bytes(self.page[8:16], "little", signed=True)

    @property
    def where(self) -> str:
        """The place at which somebody died; ``""`` if nobody did."""
        return self.page[_WHERE:].rstrip(b"\0").decode()


def install(path: str, role: int) -> None:
    """Put the fuse into this process, its threads and its children."""
    with open(path, "r+b") as file:  # noqa: PTH123 - the launcher has no pathlib
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    lock = threading.Lock()
    roles = [role]

    def burn(frame: FrameType, act: str) -> None:
        with lock:
            left = int.from_bytes(page[8:16], "little", signed=True) - 1
            page[8:16] = left.to_bytes(8, "little", signed=True)
            if left == 0 and page[0] != roles[0]:  # it was put out in this very moment
                page[8:16] = (1).to_bytes(8, "little")
            elif left == 0:
                page[0] = OFF
                where = _place(frame, act).encode()
                page[_WHERE : _WHERE + len(where)] = where
                os.kill(os.getpid(), 9)

    def watch(frame: FrameType, event: str, what: Any) -> None:
        if event == "c_return":
            if page[0] == roles[0] and what.__name__ in _C_ACTS:
                burn(frame, what.__name__)
        elif event == "return":
            name = frame.f_code.co_name
            if page[0] == roles[0] and name in _OUR_ACTS and _OUR_ACTS[name] in frame.f_code.co_filename:
                burn(frame, name)
        elif event == "call" and role == LAUNCHER and frame.f_code.co_name in _NAMES:
            code = frame.f_code
            roles[0] = _BECOMES.get(f"{'/'.join(code.co_filename.split('/')[-2:])} {code.co_name}", roles[0])

    threading.setprofile(watch)
    sys.setprofile(watch)


def _place(frame: FrameType | None, act: str) -> str:
    """The innermost places of our own that led to the act."""
    places = []
    while frame and len(places) < 6:
        name = frame.f_code.co_filename
        if "/sampan" in name and "site-packages" not in name:
            places.append(f"{name.rpartition('/')[2]}:{frame.f_lineno}")
        frame = frame.f_back
    return f"{act} at {' < '.join(places) or '?'}"
