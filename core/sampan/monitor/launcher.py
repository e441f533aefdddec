"""The launcher: a small, single-threaded process that waits for the daemon's word and forks a monitor for each.

It is executed once per daemon, as ``python -I -S -E -c "…; launcher.main(…)"``, and ends with it; the monitors live
on. The daemon could not fork them itself: it has threads, and it is large.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import os
import sys

from sampan.linux import messages, process
from sampan.monitor import monitor, rehearsal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(fd: int, path: list[str], modules: list[str]) -> None:
    """Serve the daemon at the other end of ``fd``; ``modules`` are the runtimes' monitor halves to import ahead."""
    process.close_all_but(fd)
    os.set_inheritable(fd, False)
    sock = messages.connect(fd)
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    os.chdir("/")
    os.umask(0o022)
    process.prctl(process.PR_SET_NAME, b"sampan-launcher")
    # The daemon's terminal must not be able to end containers with it.
    os.setsid()
    # What a container's root could read or write through /proc/PID is kept from it while our process is inside:
    # not dumpable means that /proc/PID/{exe,root,fd} need CAP_SYS_PTRACE (ptrace(2), PR_SET_DUMPABLE(2const)).
    process.prctl(process.PR_SET_DUMPABLE, 0)
    for name in modules:
        load(name)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps the monitors
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    rehearsal.rehearse()
    gc.collect()
    gc.freeze()
    gc.disable()
    while sock.recv(1, _socket.MSG_PEEK):
        _fork_monitor(sock)


def _fork_monitor(sock: Any) -> None:
    """Let the child receive the message: pages that the launcher never writes to stay shared by all monitors."""
    taken, told = os.pipe()
    if os.fork() == 0:
        os.close(taken)
        message, fds = messages.receive(sock, messages.LIMIT)
        sock.close()
        os.close(told)
        _run_monitor(message, fds)
    os.close(told)
    os.read(taken, 1)
    os.close(taken)


def load(name: str) -> Any:
    """Import a runtime's monitor half and let it resolve what it needs."""
    if name not in sys.modules:
        __import__(name)
        sys.modules[name].prepare()
    return sys.modules[name]


def _run_monitor(message: dict[str, Any], fds: list[int]) -> None:
    status = 1
    try:
        sys.path[:0] = [entry for entry in message["path"] if entry not in sys.path]
        status = monitor.run(message, fds, load)
    except BaseException as error:
        monitor.complain(message, error)
    finally:
        os._exit(status)
