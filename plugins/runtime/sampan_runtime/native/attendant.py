"""``--init``: a first process that does nothing but pass on signals and reap, as Docker's ``docker-init`` does.

A container has no interpreter of ours, and no program of ours is wanted in it. So the process that has built the
container does not execute the command: it forks it, stays as process 1 with what it then has (the container's root,
user, capabilities and seccomp filter, and no descriptor), and ends as the command does. It cannot be traced or looked
into from inside (PR_SET_DUMPABLE(2const)), and its executable is a read-only view.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from sampan.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = b"sampan-init"
_OURS = (
    *(_signal.SIGFPE, _signal.SIGILL, _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGABRT, _signal.SIGTRAP),
    *(_signal.SIGSYS, _signal.SIGTTIN, _signal.SIGTTOU),
)
"""Not for the command: faults of this process, and what a terminal says to processes in its background."""


def rename(args: list[bytes]) -> None:
    """How ``ps`` shows this process. Needs a /proc that can be trusted."""
    process.prctl(process.PR_SET_NAME, NAME)
    process.write_command_line(b"\0".join([NAME, b"--", *args]))


def attend(report: Any) -> None:
    """Fork. Returns in the child, which is to execute the command; the parent stays, and ends with the child's status.

    ``report`` is the parent's no more: its end, once the child has executed, says that the container runs.
    """
    everything = _signal.valid_signals()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, everything)
    child = os.fork()
    if child == 0:
        _take_terminal()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        return
    report.close()
    os.closerange(0, 3)
    os._exit(_serve(child, everything))


def _take_terminal() -> None:
    """A group of its own, in the foreground: signals from the terminal come once, and shells find what they expect."""
    os.setpgid(0, 0)
    if os.isatty(0):
        os.tcsetpgrp(0, os.getpgrp())  # SIGTTOU is blocked here, so that this does not stop us (tcsetpgrp(3))


def _serve(child: int, signals: set[int]) -> int:
    while True:
        # What is blocked waits for us, even if this is process 1 and its action is the default (signal(7)).
        number = _signal.sigwait(signals)
        if number == _signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status
        elif number not in _OURS:
            os.kill(child, number)


def _reap(child: int) -> int | None:
    """All that have ended; the exit status of ``child``, as a shell gives it, if it is among them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if pid == 0:
            return None
