"""Seeing a process's execve from outside: ptrace(2), no more than that takes."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import ctypes
import os

from sampan.linux.syscalls import libc

_PTRACE_CONT = 7
_PTRACE_DETACH = 17
_PTRACE_SEIZE = 0x4206
_PTRACE_LISTEN = 0x4208
_O_TRACECLONE = 0x8
_O_TRACEEXEC = 0x10
_EVENT_EXEC = 4
_EVENT_STOP = 128
_WALL = 0x40000000
_STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)

_ptrace = libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def watch(pid: int) -> bool:
    """From now on :func:`executes` can tell of ``pid``, and must be asked soon: what happens in the process waits for
    that. If the caller ends, it is as if nothing had been. False if somebody else traces it: then nothing can be told.

    The caller must have no other children than the one that it names there, and trace nothing else.
    """
    if _ptrace(_PTRACE_SEIZE, pid, None, _O_TRACEEXEC | _O_TRACECLONE) < 0:
        return False
    known = {pid}
    while found := {int(name) for name in _threads(pid)} - known:  # any of them may execute (execve(2), NOTES)
        for thread in found:
            _ptrace(_PTRACE_SEIZE, thread, None, _O_TRACEEXEC | _O_TRACECLONE)
        known |= found
    return True


def executes(pid: int, helper: int) -> tuple[bool, int]:
    """Wait until the process has executed something, or has ended, and ``helper``, a child, has ended as well; 0 is no
    helper.

    Did it execute anything, and the helper's wait status. If the helper fails, the process is not waited for. Signals
    that come meanwhile reach it as ever.
    """
    executed, over, status = False, False, -1 if helper else 0
    while not (status > 0 or (over and status == 0)):
        thread, news = os.waitpid(-1, _WALL)
        if thread == helper:
            status = news
        elif not os.WIFSTOPPED(news):
            over = over or thread == pid
        elif news >> 16 == _EVENT_EXEC:
            _ptrace(_PTRACE_DETACH, pid, None, None)
            executed = over = True
        else:
            _go_on(thread, news)
    return executed, status


def _go_on(thread: int, status: int) -> None:
    number, event = os.WSTOPSIG(status), status >> 16
    if event == _EVENT_STOP and number in _STOPPING:
        _ptrace(_PTRACE_LISTEN, thread, None, None)
    else:
        _ptrace(_PTRACE_CONT, thread, None, None if event else number)


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names
    except OSError:
        return []
