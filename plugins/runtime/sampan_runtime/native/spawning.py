"""One more process in a container that the starter has gone to ahead, made without a copy of the starter.

See ``steps`` for how. Whatever goes wrong in it, it is as if nothing had been tried: the usual way (``init.run_exec``)
is taken then, and says what is wrong.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import ctypes
import os
import resource
import struct
import termios

from sampan.linux import process
from sampan_runtime import powers, steps
from sampan_runtime.native import init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SET_MODE_FILTER = 1
_INSTRUCTION = 8  # sizeof(struct sock_filter)


def spawn(order: dict[str, Any], tasks: list[int], stdio: tuple[int, int, int], cgroup: int | None) -> tuple[int, int]:
    """The process's pid, when it has executed its program, and its terminal or -1. The pid is 0 if it has not."""
    if not steps.shared.enter:
        return 0, -1
    terminal = slave = -1
    if order["terminal"]:
        terminal, slave = init.open_terminal(order)
        stdio = (slave, slave, slave)
    else:
        init.own(stdio, order["uid"])
    pid, executed = _steps(order, tasks, stdio).spawn(cgroup)
    for fd in (slave, -1 if executed else terminal):
        if fd >= 0:
            os.close(fd)
    return pid if executed else 0, terminal


def warm(order: dict[str, Any]) -> None:
    """Touch ahead what is touched for a process: see ``sampan.monitor.starter``."""
    if steps.shared.enter:
        _steps(order, [0] * 9, (0, 0, 0)).rehearse()
        process.clone_args(0)


def _steps(order: dict[str, Any], tasks: list[int], stdio: tuple[int, int, int]) -> steps.Steps:
    made, calls = steps.Steps(), steps.shared.calls
    add = made.call
    add(calls.prctl, process.PR_SET_PDEATHSIG, _signal.SIGKILL)
    made.attempt(calls.setsid)
    for fd in tasks:
        add(calls.write, fd, b"0", 1)
    for number, fd in enumerate(stdio):
        add(calls.dup3, fd, number, 0)
    made.close_all(calls, unless_dead=os.getppid())
    if order["terminal"]:
        add(calls.ioctl, 0, termios.TIOCSCTTY, 0)
    add(calls.umask, order["umask"])
    for number, *wanted in order["rlimits"]:
        # Raising a hard limit takes CAP_SYS_RESOURCE, which this machine may not grant: as near as it lets us.
        granted = _within(resource.getrlimit(number)[1], *wanted)
        add(calls.prlimit64, 0, number, powers.limit(*granted), 0)
        if granted != tuple(wanted):
            made.attempt(calls.prlimit64, 0, number, powers.limit(*wanted), 0)
    seccomp = order["seccomp"]
    if seccomp and not order["no_new_privileges"]:
        _filter(made, seccomp)  # needs CAP_SYS_ADMIN, so before that goes
    powers.give_up(made, calls, order)
    if order["no_new_privileges"]:
        add(calls.prctl, process.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if seccomp:
            _filter(made, seccomp)
    add(calls.chdir, order["cwd"])
    add(calls.prctl, process.PR_SET_PDEATHSIG, _signal.SIGKILL)  # a change of credentials has cleared it
    name, environment = order["args"][0], order["env"]
    variables = [key + b"=" + value for key, value in environment.items()]
    for place in [b""] if b"/" in name else environment.get(b"PATH", init.DEFAULT_PATH).split(b":"):
        path = name if b"/" in name else (place or b".") + b"/" + name
        made.attempt(calls.execve, path, order["args"], variables)
    return made


def _filter(made: steps.Steps, program: bytes) -> None:
    """Its text is the order's, which lives longer than this."""
    address = ctypes.cast(ctypes.c_char_p(program), ctypes.c_void_p).value or 0
    described = struct.pack("=HxxxxxxQ", len(program) // _INSTRUCTION, address)  # struct sock_fprog
    made.call(steps.shared.calls.seccomp, _SET_MODE_FILTER, 0, described)


def _within(ceiling: int, soft: int, hard: int) -> tuple[int, int]:
    if ceiling == -1:
        return soft, hard
    return ceiling if soft == -1 else min(soft, ceiling), ceiling if hard == -1 else min(hard, ceiling)
