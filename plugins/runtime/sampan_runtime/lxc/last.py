"""What is left to do when LXC has made a container, or has entered it: the program that it executes there.

See ``steps`` for what such a program is, and ``monitor`` for its descriptors. The order of the steps is the kernel's:
capabilities(7), prctl(2), setresuid(2).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import errno
import os
import termios

from sampan.errors import StartFailed
from sampan.linux import process
from sampan_runtime import powers, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_AT_FDCWD = -100
_IGNORED = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGPIPE, _signal.SIGTTIN, _signal.SIGTTOU)  # by lxc-attach
_STREAMS = 6  # and the two that follow
_SET = 8  # bytes of a set of signals
_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EVERYTHING = 0xFFFFFFFF
_TTY_GROUP = 5
_CLOEXEC, _PATH_ONLY = os.O_CLOEXEC, os.O_PATH | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def waits(order: dict[str, Any]) -> bool:
    """Is there something to be done in between, when it has said that it runs?"""
    return bool(order["terminal"] or order.get("init"))


class Program:
    """The program, and what it means when it comes back with results."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._machine = os.uname().machine
        self._calls = steps.Calls(self._machine)
        self._steps = steps.Steps()
        self._order = order
        self._cwd = self._first = self._probes = 0

    def file(self) -> int:
        """It as a descriptor that can be executed."""
        return steps.file(self._steps.program(self._calls, self._machine))

    def begin(self) -> None:
        """Say that we run, and keep nothing but the pipe open: what else there is belongs to the host."""
        calls, add = self._calls, self._steps.call
        add(calls.prctl, process.PR_SET_PDEATHSIG, _signal.SIGKILL)
        pipe = add(calls.openat, _AT_FDCWD, b"/proc/self/fd/4", os.O_WRONLY | _CLOEXEC)
        add(calls.write, 3, b"a", 1)
        if waits(self._order):
            add(calls.read, 3, bytes(1), 1)
        for stream in () if self._order["terminal"] else range(3):
            add(calls.dup3, _STREAMS + stream, stream, 0)
        add(calls.dup3, pipe, 3, _CLOEXEC)
        add(calls.close_range, 4, _EVERYTHING, 0)

    def become(self) -> None:
        """For a process that LXC has left all its powers: be as OCI's ``process`` says."""
        calls, add, order = self._calls, self._steps.call, self._order
        for number in _IGNORED:
            self._steps.attempt(calls.rt_sigaction, number, bytes(32), 0, _SET)
        self._steps.attempt(calls.rt_sigprocmask, _signal.SIG_SETMASK, bytes(_SET), 0, _SET)
        self._steps.attempt(calls.setsid)
        if order["terminal"]:
            self._steps.attempt(calls.fchown, 0, order["uid"], _TTY_GROUP)
        for number, soft, hard in order["rlimits"]:
            self._steps.attempt(calls.prlimit64, 0, number, powers.limit(soft, hard), 0)
        powers.limit_bounding(self._steps, calls, order["capabilities"]["bounding"])
        powers.give_up(self._steps, calls, order)
        if order["no_new_privileges"]:
            add(calls.prctl, process.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        add(calls.prctl, process.PR_SET_PDEATHSIG, _signal.SIGKILL)  # a change of credentials clears it

    def execute(self, home: bytes) -> None:
        calls, order = self._calls, self._order
        if order["terminal"]:
            self._steps.attempt(calls.ioctl, 0, termios.TIOCSCTTY, 0)
        self._steps.call(calls.umask, order["umask"])
        self._cwd = len(self._steps)
        self._steps.call(calls.chdir, order["cwd"])
        environment = dict(order["env"])
        if not environment.get(b"HOME"):
            environment[b"HOME"] = home
        name = order["args"][0]
        places = [b""] if b"/" in name else environment.get(b"PATH", _DEFAULT_PATH).split(b":")
        variables = [key + b"=" + value for key, value in environment.items()]
        self._first = len(self._steps)
        for place in places:
            path = name if b"/" in name else (place or b".") + b"/" + name
            self._steps.attempt(calls.execve, path, order["args"], variables)
        self._probes = len(self._steps)
        if b"/" in name:
            self._steps.attempt(calls.openat, _AT_FDCWD, name, _PATH_ONLY, 0)
            self._steps.attempt(calls.openat, _AT_FDCWD, name, _PATH_ONLY | os.O_DIRECTORY, 0)

    def failure(self, table: bytes) -> StartFailed:
        """What its results say about why it has not become the user's program."""
        results = steps.results(table)
        failed = [max(-each, 0) for each in results[self._first : self._probes]]
        if results[self._cwd] < 0:
            return _bad_directory(self._order["cwd"], -results[self._cwd])
        if not any(failed):
            number = next((-each for at, each in enumerate(results) if each < 0 and self._steps.fatal(at)), 0)
            return StartFailed(f"the container's process could not be prepared: {_words(number)}", 128)
        name = self._order["args"][0]
        if b"/" in name:
            return _bad_program(name, failed[0], *results[self._probes :])
        telling = [each for each in failed if each not in _ABSENT]
        worst = next((each for each in telling if each != errno.EACCES), telling[0] if telling else 0)
        if not worst:
            return _refusal(name, "executable file not found in $PATH", 127)
        return _refusal(name, _words(worst), 126)


def of_init(order: dict[str, Any], home: bytes) -> Program:
    """For a container's own command: LXC has made it what it is to be."""
    made = Program(order)
    made.begin()
    if order["powerful"]:
        made.become()
    made.execute(home)
    return made


def of_exec(order: dict[str, Any], home: bytes) -> Program:
    """For one more process: ``lxc-attach`` has entered the container, with all powers."""
    made = Program(order)
    made.begin()
    made.become()
    made.execute(home)
    return made


def _bad_directory(path: bytes, number: int) -> StartFailed:
    name = os.fsdecode(path)
    if number == errno.ENOENT:
        return StartFailed(f"the working directory {name!r} does not exist in the container", 127)
    return StartFailed(f"cannot use {name!r} as working directory: {_words(number)}", 126)


def _bad_program(name: bytes, number: int, there: int = 0, directory: int = -1) -> StartFailed:
    code = 127 if number in _ABSENT else 126
    if there < 0:
        return _refusal(name, f"stat {os.fsdecode(name)}: {_words(-there)}", code)
    return _refusal(name, "is a directory" if directory >= 0 else _words(number), code)


def _refusal(name: bytes, reason: str, code: int) -> StartFailed:
    """In the words by which Docker's clients know it."""
    return StartFailed(f'exec: "{os.fsdecode(name)}": {reason}', code)


def _words(number: int) -> str:
    return os.strerror(number).lower()
