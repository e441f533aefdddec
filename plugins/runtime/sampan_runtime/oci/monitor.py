"""The half in the monitor of runtimes with an OCI binary (see ``sampan.drivers.runtime``): imports next to nothing.

``create`` and ``start`` make a container, ``exec`` one more process; ``delete`` is the end. The binary's own child is
the process: when the binary has ended, it is the monitor's, which is a subreaper for this.

The command line is the one that runc has made common; runtime-spec, runtime.md, "Operations", says what each does.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import os
import stat
import struct
import sys
import termios

from sampan.errors import StartFailed
from sampan.linux import cgroups, mounts, paths, process, tracing
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import libc
from sampan_runtime import steps
from sampan_runtime.oci import failures
from sampan_runtime.outside import early, places, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUBREAPER = True

_SHOWN = 40  # bytes of nonsense
_LARGEST = 0xFFFF  # struct winsize has 16 bits for each (TIOCSWINSZ(2const))


def prepare() -> None:
    for name in ("mount", "umount2", "unshare", "prctl", "ptrace", "syscall"):
        getattr(libc, name)  # the first use of a C function after a fork would cost half a millisecond
    steps.prepare()


def warm() -> None:
    """Touch ahead what is touched for a process: a page that is written to for the first time is copied."""
    order: dict[str, Any] = {
        "terminal": False,
        "binary": ["/usr/bin/runtime", "--root", "/run/runtime"],
        "id": "0" * 64,
    }
    call = Call(order, (-1, -1, -1))
    os.close(os.open(call.write("pid", b"1"), os.O_RDONLY))
    programs.warm(call._argv("create", "--bundle", "/run", *call.options(), order["id"]))
    call._read("pid")
    process.parent(os.getpid())
    call.close()


def start(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[int, int]:
    try:
        for directory in order["cgroups"]:
            cgroups.make(directory)
        process.mark("make its groups", "cgroup", " ".join(order["cgroups"]))
        early.expect_moves(order["hierarchies"])
        trees = places.pick_up(order["sources"])
        places.own_mounts(root=root, at=order["rootfs"], hidden=order["hidden"])
        if trees:
            places.put_down(trees, order["shelf"])
        _disarm(root)
        # crun and runc bind themselves there for a moment: the host would see it, and keep it if they were killed.
        os.environ["_LIBCONTAINER_STATEDIR"] = order["bundle"]
        process.mark("put the root where the binary finds it", "mount", os.fsdecode(order["rootfs"]))
        call = Call(order, stdio)
        call.do("create", "--bundle", order["bundle"], *call.options(), order["id"], streams=True)
        pid, terminal = call.pid(), call.terminal()
        process.mark("have the binary create the container", "process", str(pid))
        call.begin(pid, terminal)
        process.mark("have it start the program", "process", str(pid))
    except BaseException:
        finish(order)
        raise
    return pid, terminal


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int]:
    if process.start_time(order["pid"]) != order["start_time"]:
        raise StartFailed("the container has ended", 128)
    early.expect_moves(order["hierarchies"])
    if order["hidden"]:
        places.own_mounts(hidden=order["hidden"])
    call = Call(order, stdio)
    described = call.write("process", _with_size(order["process"], order["size"]))
    call.do("exec", "--detach", "--process", described, *call.options(), order["id"], streams=True)
    return call.pid(), call.terminal()


def _disarm(root: int) -> None:
    """Binaries trust an image in what it must not be trusted in.

    runc makes the links in ``/dev`` through whatever that is, and so on the host. All of them look users up, even those
    that have a number, and wait for ever for what comes out of a pipe: an empty file takes its place.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat("dev", dir_fd=root, follow_symlinks=False).st_mode):
            raise StartFailed("the image has a symbolic link in place of its directory /dev", 128)
    for name in (b"etc/passwd", b"etc/group"):
        with suppress(OSError):
            fd = paths.open_in_root(root, name, os.O_PATH)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                null = mounts.bind("/dev/null")
                mounts.attach(null, fd)
                os.close(null)
            os.close(fd)


def ended(order: dict[str, Any]) -> bool:
    return cgroups.starved(order["oom"])


def finish(order: dict[str, Any]) -> None:
    _kill_all(order)  # what the init has left when it had no PID namespace of its own
    if os.access(order["state"], os.F_OK):
        delete = [*order["binary"], "delete", "--force", order["id"]]
        programs.run(delete, first=lambda: _hide(order), patience=order["patience"])
        remove_tree(order["state"])
    for directory in order["cgroups"]:
        with suppress(OSError):
            cgroups.remove(directory)


def remove_tree(path: str) -> None:
    """What a binary keeps of a container, should it have left it behind."""
    for directory, _, files in os.walk(path, topdown=False):
        for name in files:
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{name}")  # noqa: PTH108
        with suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106


def _hide(order: dict[str, Any]) -> None:
    if order["hidden"]:
        places.own_mounts(hidden=order["hidden"])


def _kill_all(order: dict[str, Any]) -> None:
    for directory in order["cgroups"]:
        for pid in cgroups.processes(directory):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


def _with_size(described: bytes, size: tuple[int, int] | None) -> bytes:
    """OCI's ``process`` as JSON, with the size that its terminal is to have before the program can ask."""
    if not size:
        return described
    rows, columns = (min(each, _LARGEST) for each in size)
    return b'{"consoleSize":{"height":%d,"width":%d},' % (rows, columns) + described[1:]


class Call:
    """The binary's commands for one process, with files that nobody else sees and that nobody has to remove."""

    def __init__(self, order: dict[str, Any], stdio: tuple[int, int, int]) -> None:
        self._order = order
        self._files = places.files()
        self._stdio: tuple[int, ...] = () if order["terminal"] else stdio
        self._console: Any = None
        if order["terminal"]:
            self._console = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            self._console.bind(places.path_in(self._files, "console"))
            self._console.listen(1)
            self._console.setblocking(False)

    def options(self) -> list[str]:
        given = ["--pid-file", places.path_in(self._files, "pid")]
        return [*given, "--console-socket", places.path_in(self._files, "console")] if self._console else given

    def close(self) -> None:
        os.close(self._files)

    def write(self, name: str, content: bytes) -> str:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._files)
        os.write(fd, content)
        os.close(fd)
        return places.path_in(self._files, name)

    def begin(self, pid: int, terminal: int) -> None:
        """``start``, and see that the init executes its program: nobody says so if it cannot."""
        if not tracing.watch(pid):
            self.do("start", self._order["id"])
            return
        # What hangs ends this starter, and with it everything else.
        _signal.setitimer(_signal.ITIMER_REAL, self._order["patience"])
        gate = self._open_gate()
        helper = 0 if gate >= 0 else programs.start(self._argv("start", self._order["id"]))
        executed, status = tracing.executes(pid, helper)
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        if gate >= 0:
            os.close(gate)
        if status:
            raise failures.told(self._read("log"), self._order["program"], "start")
        if not executed:
            raise self._failure(terminal)

    def _open_gate(self) -> int:
        """What ``start`` does, where it is known: open the named pipe at which the init waits, and take it away, which
        makes the container's state "running". -1 if there is none.

        crun's init reads a byte from it, runc's writes one: a pipe that is open for both, with a byte in it, lets
        either pass (fifo(7)). It takes no process, and no reading of the configuration.
        """
        try:
            fd = os.open(self._order["gate"], os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return -1
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            return -1
        os.unlink(self._order["gate"])  # noqa: PTH108
        os.write(fd, b"0")
        return fd

    def do(self, command: str, *args: str, streams: bool = False) -> None:
        """Run one command. ``StartFailed`` with what the binary said went wrong."""
        argv = self._argv(command, *args)
        status = programs.run(argv, self._stdio if streams else (), patience=self._order["patience"])
        if status == programs.LOST:
            late = f"{argv[0]} did not end within {self._order['patience']:g} seconds"
            raise StartFailed(f"the OCI runtime's {command} failed: {late}", 128)
        if status and not os.access(argv[0], os.X_OK):
            raise StartFailed(f"the OCI runtime {argv[0]} cannot be executed", 128)
        if status:
            spoken = self._spoken(self._stdio[2]) if streams and self._stdio else b""
            raise failures.told(self._read("log"), self._order["program"], command, spoken)

    def pid(self) -> int:
        """Of the process that the binary says to have made: from now on a child of our parent, the monitor."""
        said = self._read("pid").strip()
        if not said.isdigit() or process.parent(int(said)) != os.getppid():
            text = said[:_SHOWN].decode(errors="replace")
            raise StartFailed(
                f"{self._order['binary'][0]} is no OCI runtime: it says that all went well, and its pid file names no "
                f"process that it has made ({text!r})",
                128,
            )
        return int(said)

    def terminal(self) -> int:
        """The master that the binary has sent (runc's docs/terminals.md), with its size; -1 if none was wanted."""
        if not self._console:
            return -1
        fd, _ = self._console._accept()
        sender: Any = _socket.socket(fileno=fd)
        _, ancillary, _, _ = sender.recvmsg(4096, 64)
        sender.close()
        master = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        if self._order["size"]:
            rows, columns = (min(each, _LARGEST) for each in self._order["size"])
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        return master

    def _argv(self, command: str, *args: str) -> list[str]:
        log = ("--log", places.path_in(self._files, "log"), "--log-format", "json")
        return [*self._order["binary"], *log, command, *args]

    def _failure(self, terminal: int) -> StartFailed:
        """Why the init has ended without having executed anything: it says so where the program would have written."""
        said = self._read("log") + b"\n" + self._spoken(terminal if terminal >= 0 else self._stdio[2])
        return failures.told(said, self._order["program"], "start")

    def _spoken(self, stream: int) -> bytes:
        """What lies in a stream for the container's clients, none of whom has been served yet."""
        with suppress(OSError):
            fd = os.open(f"/proc/self/fd/{stream}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.read(fd, 65536)
            finally:
                os.close(fd)
        return b""

    def _read(self, name: str) -> bytes:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._files)
        except FileNotFoundError:
            return b""
        try:
            return os.read(fd, 1 << 20)
        finally:
            os.close(fd)
