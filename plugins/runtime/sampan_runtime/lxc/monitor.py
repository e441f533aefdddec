"""The half of LXC's runtime driver in the monitor (see ``sampan.drivers.runtime``): imports next to nothing.

``lxc-start`` in the foreground is the container's parent and stays it, ``lxc-attach`` that of one more process: LXC's
other commands ask them. So they are the *keepers* of what they start: the monitor's children, which end with it.

What a container's process does last is not LXC's but a program of ours (see ``steps``), which it has as descriptor 5.
Over the socket that it has as 3, which tells the pid of who writes, it says that it runs. 4 is a pipe's end for
reading: it opens that for writing, marks it close-on-exec, and so the pipe's end is that of the program, or what went
wrong comes through it. The keeper has the same descriptors, and must not keep the pipe open. 6, 7 and 8 are to be the
process's streams, for what LXC says by the way is not the container's output; with a terminal LXC has them itself.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import os
import select
import stat
import sys
import termios

from sampan.errors import StartFailed
from sampan.linux import cgroups, process
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import libc
from sampan_runtime.lxc import last, news, stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PATIENCE = 60.0  # seconds for LXC to come to our program
_LAST_SIGNAL = 64
_TTY_GROUP = 5


def prepare() -> None:
    for name in ("mount", "umount2", "setns", "unshare", "prctl", "syscall"):
        getattr(libc, name)  # the first use of a C function after a fork would cost half a millisecond


def start(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[int, int, tuple[int, int]]:
    log = f"{order['directory']}/{order['id']}.log"
    listener, attempt = -1, None
    try:
        home = stage.build(order, root)
        process.mark("place the root and write the configuration", "file", f"{order['directory']}/config")
        listener = news.listen(order["lxcpath"])
        # What LXC runs by the way, such as hooks, must not do so in an environment that the image's author wrote; and
        # it would enter a working directory such as /proc/self/fd/9, which may be the host's.
        options = [
            *_common(order, log),
            "-s",
            "lxc.environment=",
            "-s",
            "lxc.init.cwd=/",
            *_POWERFUL * order["powerful"],
        ]
        attempt = Attempt(order, [*order["start"], *options], last.of_init(order, home), stdio)
        try:
            pid = attempt.await_program(lambda: news.failed(listener))
        except StartFailed as failure:
            news.drain(listener)
            attempt.end(patience=5.0)
            raise stage.explained(failure, log, order) from None
        return pid, attempt.terminal, (attempt.keeper, listener)
    except BaseException:
        if listener >= 0:
            os.close(listener)
        if attempt:
            attempt.end()
        finish(order)
        raise


_POWERFUL = ["-s", "lxc.cap.keep=", "-s", "lxc.init.uid=0", "-s", "lxc.init.gid=0", "-s", "lxc.init.groups="]
"""LXC takes all capabilities from a user that is not root; then our program has to give up what is too much."""


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int, tuple[int, int]]:
    if process.start_time(order["pid"]) != order["start_time"]:
        raise StartFailed("the container has ended", 128)
    log = f"{order['directory']}/attach-{os.getpid()}.log"
    argv = [*order["attach"], *_common(order, log), "-u", "0", "-g", "0", "-eCAP"]
    attempt = Attempt(order, argv, last.of_exec(order, stage.home_inside(order)), stdio)
    try:
        pid = attempt.await_program(lambda: False)
    except StartFailed as failure:
        attempt.end(patience=5.0)
        _remove_leaf(order)
        raise stage.explained(failure, log, order) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(log)  # noqa: PTH108
    return pid, attempt.terminal, (attempt.keeper, -1)


def _remove_leaf(order: dict[str, Any]) -> None:
    with suppress(OSError):  # somebody else is in it, or it is not there
        os.rmdir(order["leaf"])  # noqa: PTH106


def _common(order: dict[str, Any], log: str) -> list[str]:
    return ["-n", order["id"], "-P", order["lxcpath"], "-o", log, "-l", "ERROR", "-q"]


def exit_code(order: dict[str, Any], keeper: tuple[int, int]) -> int:
    """What the process's end was, as a shell tells it. Its keeper is awaited, by :func:`finish` if it takes longer."""
    pid, listener = keeper
    if listener < 0:
        code = _code(os.waitpid(pid, 0)[1])
        _remove_leaf(order)
        return code
    _keepers.append(pid)
    status = news.exit_status(listener, pid)
    os.close(listener)
    if status is None:  # lxc-start was killed, and has taken its knowledge with it
        return 128 + int(_signal.SIGKILL)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == _signal.SIGHUP:
        # It called reboot(2), or so LXC thinks, which would start it again.
        with suppress(ProcessLookupError):
            os.kill(pid, _signal.SIGKILL)
    return _code(status)


_keepers: list[int] = []


def ended(order: dict[str, Any]) -> bool:
    return cgroups.starved(order["oom"])


def finish(order: dict[str, Any]) -> None:
    for group in order["cgroups"]:  # what an init without a PID namespace has left: lxc-start does not wait for it
        for pid in cgroups.processes(group):
            with suppress(ProcessLookupError):
                os.kill(pid, _signal.SIGKILL)
    for keeper in _keepers:
        _await(keeper, 10.0)
    for directory in [*order["cgroups"], *order["keepers"]]:
        with suppress(OSError):
            cgroups.remove(directory)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _await(pid: int, patience: float) -> int:
    """A child's end, by force if need be."""
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(patience * 1000):
            os.kill(pid, _signal.SIGKILL)
            poll.poll(patience * 1000)
        os.close(fd)
    return 0


def _parent(pid: int) -> int:
    """LXC's init, whose child the program is."""
    with open(f"/proc/{pid}/status", "rb") as lines:  # noqa: PTH123
        return int(next(line for line in lines if line.startswith(b"PPid:")).split()[1])


class Attempt:
    """One of LXC's commands that is to start a process, and what can be heard of it."""

    def __init__(
        self, order: dict[str, Any], argv: list[str], program: last.Program, stdio: tuple[int, int, int]
    ) -> None:
        self.terminal = -1
        self._order = order
        self._program = program
        self._socket, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        self._read, self._write = os.pipe()
        os.fchmod(self._read, 0o666)  # whoever the process is by then
        given = [theirs.fileno(), self._read, program.file(), *([] if order["terminal"] else stdio)]
        terminal = self._open_terminal(order) if order["terminal"] else -1
        self._own(order, stdio)
        monitor = os.getppid()
        self.keeper = process.clone(0)
        if self.keeper == 0:
            streams = [terminal] * 3 if terminal >= 0 else [os.open("/dev/null", os.O_RDWR)] * 3
            _execute(order, [*argv, "--", "/proc/self/fd/5"], [*streams, *given], monitor)
        self._pidfd = os.pidfd_open(self.keeper)
        theirs.close()
        for fd in (given[2], terminal):
            if fd >= 0:
                os.close(fd)

    def _open_terminal(self, order: dict[str, Any]) -> int:
        """One of the host's, on which LXC mirrors the container's own, with its size."""
        self.terminal, slave = os.openpty()
        if order["size"]:
            rows, columns = (min(max(each, 0), 0xFFFF) for each in order["size"])
            termios.tcsetwinsize(slave, (rows, columns))
        return slave

    @staticmethod
    def _own(order: dict[str, Any], stdio: tuple[int, int, int]) -> None:
        """Pipes become the user's, who could not open ``/dev/stdout`` again otherwise."""
        for fd in () if order["terminal"] else stdio:
            if order["uid"] and stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, order["uid"], -1)

    def await_program(self, failed: Callable[[], bool]) -> int:
        """The pid of the process, when its execve has succeeded. ``failed`` is asked when nothing is heard."""
        poll = select.poll()
        for fd in (self._socket.fileno(), self._pidfd):
            poll.register(fd, select.POLLIN)
        left = _PATIENCE
        while not (ready := dict(poll.poll(20))):
            left -= 0.02
            if left < 0 or failed():
                break
        if self._socket.fileno() not in ready:
            raise StartFailed(f"LXC could not start it ({'no answer' if left < 0 else 'see its log'})", 128)
        pid = self._hear()
        if self._order.get("init"):
            pid = _parent(pid)
        if self.terminal >= 0:
            self._make_raw()
        if last.waits(self._order):
            self._socket.send(b"b")
        os.close(self._write)
        self._write = -1
        table = b""
        while part := os.read(self._read, 1 << 16):
            table += part
        os.close(self._read)
        self._socket.close()
        if table:
            raise self._program.failure(table)
        process.mark("execute the program", "process", str(pid))
        return pid

    def _make_raw(self) -> None:
        """It is the container's own terminal that echoes, edits, interrupts and adds carriage returns. LXC, which has
        just set this one up, leaves it the last."""
        mode = termios.tcgetattr(self.terminal)
        mode[:4] = [0, 0, mode[2], 0]
        termios.tcsetattr(self.terminal, termios.TCSANOW, mode)

    def _hear(self) -> int:
        data, ancillary, _, _ = self._socket.recvmsg(1 << 16, _socket.CMSG_SPACE(12))
        if len(data) != 1:
            raise self._program.failure(data) if data else StartFailed("LXC could not start it", 128)
        process.mark("have LXC make the container", "process", str(self.keeper))
        return int.from_bytes(ancillary[0][2][:4], sys.byteorder)  # struct ucred (unix(7))

    def end(self, patience: float = 0.0) -> None:
        """LXC's command is to end, by force after ``patience`` seconds: until then it may write down why it failed."""
        _await(self.keeper, patience)


def _execute(order: dict[str, Any], argv: list[str], given: list[int], monitor: int) -> None:
    """In the new process: become LXC's command, with these descriptors from 0 on."""
    try:
        os.setsid()
        process.prctl(process.PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != monitor:
            os._exit(1)
        _set_oom_score(order)
        count = len(given)
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, count) for fd in given]
        for number, fd in enumerate(moved):
            os.dup2(fd, number)
        process.close_all_but(*range(3, count))
        if order["terminal"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in range(1, _LAST_SIGNAL + 1):
            if number not in (_signal.SIGKILL, _signal.SIGSTOP, *process.RESERVED_SIGNALS):
                _signal.signal(number, _signal.SIG_DFL)
        process.default_reserved_signals()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        os.umask(0o022)
        os.execve(argv[0], argv, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})  # noqa: S606
    finally:
        os._exit(127)


def _set_oom_score(order: dict[str, Any]) -> None:
    if order["oom_score_adj"] is not None:
        with suppress(PermissionError):  # lowering it takes CAP_SYS_RESOURCE, which this machine may not grant
            cgroups.write("/proc/self/oom_score_adj", str(order["oom_score_adj"]))
