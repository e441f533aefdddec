"""The launcher: a small, single-threaded process that keeps monitors waiting for the daemon's word.

It is executed once per daemon, as ``python -I -S -E -c "…; launcher.main(…)"``, and ends with it; the monitors that
have something to watch live on. The daemon could not fork them itself: it has threads, and it is large.

A *crew* is a monitor that has nothing to watch yet, with its starter, and with what the runtime can make before it
knows of a container. The daemon's messages go to two sockets on which the crews wait, one for containers and one for
execs; whichever crew is woken takes the message, so the launcher itself is not on the way of a start.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import os
import select
import sys
import time

from sampan.linux import messages, process
from sampan.monitor import monitor, rehearsal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_DESCRIPTORS = 1024  # more than the launcher ever has
_QUIET = 25  # milliseconds without news, after which new crews take no time from what goes on
_FEW = 2
_FAREWELL = 5.0  # seconds for crews to take down what they have made ahead
CREWS = 4  # as many starts at once find a crew waiting


def main(starts: int, execs: int, usual: int, files: tuple[int, int], path: list[str], modules: list[str]) -> None:
    """Serve the daemon at the other ends of ``starts`` and ``execs`` until it closes them.

    ``modules`` are the runtimes' monitor halves to import ahead; crews are made for the first. ``usual`` is the file of
    what that may make ahead for, ``files`` how many may be opened.
    """
    process.close_all_but(starts, execs, usual)
    process.limit_files(*files)
    for fd in (starts, execs):
        os.set_inheritable(fd, False)
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    os.chdir("/")
    os.umask(0o022)
    if os.sched_getscheduler(0):  # what a daemon is given to answer soon is not for containers, nor may groups hold it
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    process.prctl(process.PR_SET_NAME, b"sampan-launcher")
    # The daemon's terminal must not be able to end containers with it.
    os.setsid()
    # What a container's root could read or write through /proc/PID is kept from it while our process is inside:
    # not dumpable means that /proc/PID/{exe,root,fd} need CAP_SYS_PTRACE (ptrace(2), PR_SET_DUMPABLE(2const)).
    process.prctl(process.PR_SET_DUMPABLE, 0)
    made_for = messages.kept(usual)
    os.close(usual)
    for name in reversed(modules):
        load(name)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps the monitors
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    rehearsal.rehearse()
    _rehearse(os.dup(starts), modules[0])
    gc.collect()
    gc.freeze()
    gc.disable()
    _serve([Crews(starts, modules[0], made_for), Crews(execs, modules[0], None)])


def _serve(pools: list[Crews]) -> None:
    """Until the daemon closes its ends, and the crews that wait, who see that for themselves, have gone."""
    poll = select.poll()
    for pool in pools:
        poll.register(pool.fd, 0)  # hang-ups are told without asking (poll(2))
    for pool in pools:
        pool.fill(poll)
    while True:
        heard = poll.poll(_QUIET if any(pool.lacks for pool in pools) else None)
        if not heard:
            for pool in pools:
                pool.fill(poll)
        for fd, _ in heard:
            for pool in pools:
                if fd == pool.fd:
                    _see_off(pools)
                    return
                if fd in pool.busy:
                    pool.heard(fd, poll)


def _see_off(pools: list[Crews]) -> None:
    poll = select.poll()
    waiting = {fd for pool in pools for fd, busy in pool.busy.items() if not busy}
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    until = time.monotonic() + _FAREWELL
    while waiting and time.monotonic() < until:
        for fd, _ in poll.poll(100):
            poll.unregister(fd)
            waiting.discard(fd)


class Crews:
    """The crews that wait on one of the daemon's sockets."""

    def __init__(self, fd: int, module: str, usual: Any, fork: Callable[[], int] = os.fork) -> None:
        self.fd = fd
        self._fork = fork
        self.busy: dict[int, bool] = {}
        self._slots: dict[int, int] = {}
        self._sock = messages.connect(fd)
        self._module = module
        self._usual = usual
        self._idle = 0

    @property
    def lacks(self) -> bool:
        return self._idle < CREWS

    def fill(self, poll: Any) -> None:
        while self._idle < CREWS:
            self._add(poll)

    def heard(self, fd: int, poll: Any) -> None:
        """A crew has taken a message; or it has started what it was to start; or it has died."""
        if os.read(fd, 1):
            self.busy[fd] = True
            self._idle -= 1
            if self._idle < _FEW:  # the next message must not wait for the starts that go on now
                self._add(poll)
            return
        poll.unregister(fd)
        os.close(fd)
        del self._slots[fd]
        if not self.busy.pop(fd):
            self._idle -= 1
            self._add(poll)

    def _add(self, poll: Any) -> None:
        heard, told = os.pipe()
        slot = 0
        while slot in self._slots.values():
            slot += 1
        if self._fork() == 0:
            status = 1
            try:
                _close_all_but(self.fd, told)
                ahead = None if self._usual is None else (self._usual, str(slot))
                warm = rehearsal.warm if ahead is None else None  # it leaves traces in the memory of those that stay
                status = monitor.serve(self._sock, told, self._module, load, ahead, warm)
            finally:
                os._exit(status)
        os.close(told)
        self.busy[heard] = False
        self._slots[heard] = slot
        self._idle += 1
        poll.register(heard, select.POLLIN)


def _rehearse(fd: int, module: str) -> None:
    """What the launcher writes after a fork becomes the monitor's own, too: what it writes once, it writes now."""
    poll = select.poll()
    pool = Crews(fd, module, None, fork=lambda: 1)  # nobody is there, and seems to die at once
    for _ in range(rehearsal.ROUNDS):
        pool.fill(poll)
        for heard, _ in poll.poll(0):
            pool.heard(heard, poll)
    for heard in pool.busy:
        os.close(heard)


def _close_all_but(*kept: int) -> None:
    # As process.close_all_but, without a first use of ctypes, which is dear in a process that may live for months.
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, first + _DESCRIPTORS)


def load(name: str) -> Any:
    """Import a runtime's monitor half and let it resolve what it needs."""
    if name not in sys.modules:
        __import__(name)
        sys.modules[name].prepare()
    return sys.modules[name]
