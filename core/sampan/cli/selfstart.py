"""A daemon that starts by itself, when root uses the default socket and nobody listens there."""

from __future__ import annotations

import os
import sys
import time

from sampan.cli.failures import CannotConnect
from sampan.cli.hosts import EXEC_ROOT, Host
from sampan.cli.http import connect

PATIENCE = 60.0
"""Seconds to wait for a daemon that lives but does not answer yet: it may have much to restore."""

GRACE = 2.0
"""Seconds to look for another daemon after ours has ended."""


def start(host: Host) -> None:
    """Starts a daemon that survives us; returns when it answers. Raises CannotConnect with a sentence."""
    if os.geteuid() != 0:
        raise CannotConnect(
            f"Cannot connect to the sampan daemon at {host}. Is it running? "
            "(as root, sampan starts it by itself: try sudo)"
        )
    log = f"{EXEC_ROOT}/daemon.log"
    os.makedirs(EXEC_ROOT, mode=0o711, exist_ok=True)  # noqa: PTH103 - pathlib costs as much as this command
    life = _spawn(log)
    try:
        _await(host, life, log)
    finally:
        os.close(life)


def _spawn(log: str) -> int:
    """Forks twice, so that the daemon belongs to init. What comes back reads as ended when the daemon has."""
    life, alive = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                _become_daemon(log, alive)
        finally:
            os._exit(0)
    os.close(alive)
    os.waitpid(child, 0)
    return life


def _become_daemon(log: str, alive: int) -> None:
    os.chdir("/")
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
    for number, target in enumerate((null, out, out)):
        os.dup2(target, number)
    os.set_inheritable(alive, True)
    # -P: no module is taken from the directory that the user happens to be in.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sampan.cli", "daemon"])  # noqa: S606


def _await(host: Host, life: int, log: str) -> None:
    from select import select

    end = time.monotonic() + PATIENCE
    watched = [life]
    while time.monotonic() < end:
        ended, _, _ = select(watched, [], [], 0.02)
        try:
            connect(host.address).close()
            return
        except OSError:
            pass
        if ended:  # perhaps because somebody else's daemon was just starting: that one is as good
            watched, end = [], min(end, time.monotonic() + GRACE)
    if not watched:
        raise CannotConnect(f"The daemon could not start: {_last_line(log)}")
    raise CannotConnect(f"A daemon was started but does not answer at {host}; its log is {log}")


def _last_line(log: str) -> str:
    try:
        with open(log, "rb") as file:  # noqa: PTH123
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        lines = []
    said = [line for line in lines if line.strip()]
    return said[-1].strip().removeprefix("sampan daemon: ").removeprefix("sampan: ") if said else f"see {log}"
