"""Running such a program in a starter or monitor: with given streams, for a bounded time, and not beyond its parent."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import fcntl
import os
import select

from sampan.linux import process
from sampan.linux.suppress import suppress
from sampan_runtime import steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOST = -1
"""The exit status of a program that had to be killed because it took too long."""

_LAST_SIGNAL = 64


def start(argv: Sequence[str | bytes], stdio: Sequence[int] = (), *, first: Callable[[], None] | None = None) -> int:
    """Start ``argv``, whose first word is a path, and return its pid. It is killed when the caller ends.

    ``stdio`` are its descriptors 0, 1 and 2, /dev/null by default; it gets no others. It leads a session. ``first`` is
    called in the new process. Whether it could be executed shows in its exit status: 127 if not.
    """
    if steps.shared.enter and not first:
        pid, executed = _spawned(argv, stdio)
        if executed:
            return pid
        os.waitpid(pid, 0)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        process.prctl(process.PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(LOST & 0xFF)
        os.setsid()
        if first:
            first()
        _use(stdio)
        process.close_all_but()
        _default_signals()
        os.execv(argv[0], list(argv))  # noqa: S606
    finally:
        os._exit(127)


def _spawned(argv: Sequence[str | bytes], stdio: Sequence[int]) -> tuple[int, bool]:
    """The same without a copy of the caller (``steps``), which is a process that starts programs and nothing else: the
    signals that it ignores, it ignores no more."""
    _default_signals()
    null = -1 if stdio else os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        return _steps(argv, stdio or [null] * 3).spawn(sibling=False)
    finally:
        if null >= 0:
            os.close(null)


def _steps(argv: Sequence[str | bytes], stdio: Sequence[int]) -> steps.Steps:
    made, calls = steps.Steps(), steps.shared.calls
    made.call(calls.prctl, process.PR_SET_PDEATHSIG, _signal.SIGKILL)
    made.call(calls.setsid)
    # Away from 0 to 2 first, for one may have the number that another is to get.
    moved = [made.call(calls.fcntl, fd, fcntl.F_DUPFD, 3) for fd in stdio]
    for number, fd in enumerate(moved):
        made.call(calls.dup3, fd, number, 0)
    made.close_all(calls, unless_dead=os.getpid())
    variables = [os.fsencode(f"{name}={value}") for name, value in os.environ.items()]
    made.attempt(calls.execve, os.fsencode(argv[0]), [os.fsencode(word) for word in argv], variables)
    return made


def warm(argv: Sequence[str | bytes]) -> None:
    """Touch ahead what is touched for a program."""
    _default_signals()
    if steps.shared.enter:
        _steps(argv, (0, 0, 0)).rehearse()


def end_of(pid: int, patience: float) -> int:
    """The exit status of a child, as a shell gives it, or ``LOST`` if it did not end within ``patience`` seconds."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        lost = not poll.poll(patience * 1000)
        if lost:  # with what it has started: it leads a session
            with suppress(ProcessLookupError):
                os.killpg(pid, _signal.SIGKILL)
    finally:
        os.close(fd)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return LOST if lost else code if code >= 0 else 128 - code


def run(
    argv: Sequence[str | bytes],
    stdio: Sequence[int] = (),
    *,
    first: Callable[[], None] | None = None,
    patience: float = 60.0,
) -> int:
    """:func:`start` and :func:`end_of`."""
    return end_of(start(argv, stdio, first=first), patience)


def _use(stdio: Sequence[int]) -> None:
    given = list(stdio) or [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)] * 3
    # Away from 0 to 2 first, for one may have the number that another is to get.
    moved = [os.dup(fd) if fd < 3 else fd for fd in given]
    for number, fd in enumerate(moved):
        os.dup2(fd, number)


def _default_signals() -> None:
    """Ignored signals stay ignored over execve, and Python ignores some."""
    for number in range(1, _LAST_SIGNAL + 1):
        if number not in (_signal.SIGKILL, _signal.SIGSTOP, *process.RESERVED_SIGNALS):
            _signal.signal(number, _signal.SIG_DFL)
    process.default_reserved_signals()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
