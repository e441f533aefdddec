"""The daemon's side of the launcher and the monitors: starting them, hearing from them, finding them again.

Each started process has one connection between its monitor and the daemon. One thread waits on all of them; what it
hears goes to ``on_exit``. The launcher is executed from a read-only view of the interpreter's file, so that no
container can write to what it finds behind ``/proc/PID/exe`` (the way of CVE-2019-5736).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

import sampan
from sampan.errors import Conflict, Internal, NotFound, StartFailed, Unavailable
from sampan.linux import messages, mounts, openfiles
from sampan.networks.ferries import Landing

log = logging.getLogger(__name__)

_START = (
    "import sys; sys.path[:0] = {path!r}; "
    "from sampan.monitor import launcher; launcher.main({starts}, {execs}, {usual}, {files}, {path!r}, {modules!r})"
)
_LAUNCHES = 10.0  # seconds for what an earlier daemon was about to start
_SOCKET = "monitor.sock"
_STATUS = "status"


class Stream(msgspec.Struct, frozen=True):
    """A client that is attached from the first byte on: the monitor's end, and what it wants."""

    theirs: socket.socket
    wants: tuple[bool, bool, bool]


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A process to start under a monitor.

    ``key`` is the container's or exec's id. ``module`` and ``order`` come from the runtime driver. ``root`` is the
    storage driver's descriptor, which stays the caller's. ``log`` is ``{"path", "max_size" (bytes), "max_file"}``.
    ``size`` is the terminal's first rows and columns. ``directory`` is where the monitor keeps its status and can be
    found by a later daemon; None for an exec. ``landings`` are sockets and where what comes to them is carried to.
    """

    key: str
    kind: str
    module: str
    order: Any
    root: int | None = None
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log: dict[str, Any] | None = None
    streams: Sequence[Stream] = ()
    size: tuple[int, int] | None = None
    directory: Path | None = None
    landings: Sequence[Landing] = ()


class Started(msgspec.Struct, frozen=True):
    """``pid`` of the process and of its ``monitor``, as the host sees them; ``at`` in nanoseconds since 1970."""

    pid: int
    monitor: int
    at: int


class Exit(msgspec.Struct, frozen=True):
    """``code`` as a shell gives it (128 + the signal's number); ``lost``: the monitor died and could not tell."""

    code: int
    oom: bool
    at: int
    lost: bool = False


class _Status(msgspec.Struct):
    pid: int
    monitor: int
    started: int
    exit: int | None = None
    oom: bool = False
    finished: int = 0


class Monitors:
    """All monitors of this daemon. Thread-safe. ``on_exit`` is called from one watching thread and must be quick.

    ``launching`` is a file that is locked by whoever may still start something: the launcher, and each monitor until
    it can be found by :meth:`adopt`. A daemon that follows one which was killed waits for that, or it would take the
    late-comers for lost, clean up after them, and then they would come.

    ``usual`` is an order of the first module's for a container without wishes: its runtime may make ahead for it.
    """

    def __init__(
        self,
        modules: Iterable[str],
        on_exit: Callable[[str, Exit], None],
        launching: Path | None = None,
        usual: Any = None,
    ) -> None:
        self._usual = usual
        self._launching = launching
        self._lock_of_launches = subprocess.DEVNULL
        self._modules = list(modules)
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self._launcher: dict[str, socket.socket] = {}  # by the kind of launch
        self._process: subprocess.Popen[bytes] | None = None
        self._controls: dict[str, socket.socket] = {}
        self._monitors: dict[str, int] = {}
        self._landings: dict[str, list[Landing]] = {}
        self._keys: dict[int, str] = {}
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._watch, name="monitors", daemon=True)
        self.on_marks: Callable[[str, bytes], None] = lambda key, marks: None  # of a start that was just told

    def open(self) -> None:
        """Start the launcher and the watching thread, when nobody else starts anything any more."""
        if self._launching:
            self._lock_of_launches = _sole_right(self._launching)
        with self._lock:
            self._launcher = self._execute_launcher()
        self._thread.start()

    def close(self) -> None:
        """Let go of all monitors; they and their processes live on."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._wake)
            self._wake = -1
        with self._lock:
            self._let_go()
            if self._process:
                self._process.wait(10)
            for control in self._controls.values():
                control.close()
            self._controls.clear()
            if self._lock_of_launches >= 0:
                os.close(self._lock_of_launches)
                self._lock_of_launches = subprocess.DEVNULL

    @staticmethod
    def stream(*, stdin: bool, stdout: bool, stderr: bool) -> tuple[socket.socket, Stream]:
        """A client for :class:`Launch`: our end, and the monitor's."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return ours, Stream(theirs, (stdin, stdout, stderr))

    def start(self, launch: Launch, *, timeout: float = 60.0, meanwhile: Callable[[], None] = lambda: None) -> Started:
        """Start a process; returns when its execve has succeeded, and ``meanwhile`` has been called.

        ``StartFailed`` says why it could not be started, ``Unavailable`` that no answer came within ``timeout``
        seconds (then whatever was started is killed with its monitor). What ``meanwhile`` raises is raised when the
        process has been started.
        """
        answer = self.ask(launch, timeout=timeout)
        try:
            meanwhile()
        finally:
            started = answer()
        return started

    def ask(self, launch: Launch, *, timeout: float = 60.0) -> Callable[[], Started]:
        """Have a process started. What is returned must be called: it waits for the answer, as :meth:`start` does."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        given = [] if launch.root is None else [launch.root]
        given += [stream.theirs.fileno() for stream in launch.streams]
        box = messages.box(_boxed(launch.landings)) if launch.landings else None
        if box:
            given.append(box.fileno())
        try:
            order = messages.keep({**launch.order, "size": launch.size})
            try:
                self._send(_message(launch), [theirs.fileno(), order, *given])
            finally:
                os.close(order)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if box:
                box.close()
            for stream in launch.streams:
                stream.theirs.close()
        return functools.partial(self._await_start, launch.key, ours, timeout)

    def adopt(self, key: str, directory: Path) -> Started | Exit | None:
        """What became of a process that an earlier daemon started: it runs, it ended, or nothing is known."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            control.settimeout(5)
            control.connect(f"/proc/self/fd/{fd}/{_SOCKET}")
            hello, box = messages.receive(control)
        except OSError:
            hello, box = None, []
        finally:
            os.close(fd)
        if hello is None:
            control.close()
            return self._from_status(directory)
        started = Started(*hello[1:])
        self._landings[key] = [landing for each in box for landing in _unboxed(each)]
        self._register(key, control, started.monitor)
        return started

    def attach(self, key: str, *, stdin: bool, stdout: bool, stderr: bool, mark: int | None = None) -> socket.socket:
        """Attach a client to a running process; our end of its stream. ``NotFound`` if the process has ended.

        A pipe's writing end ``mark`` is told how far the log is where the stream begins (``sampan.monitor.log``).
        """
        ours, stream = self.stream(stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            self._tell(key, ("attach", stream.wants), [stream.theirs.fileno(), *([] if mark is None else [mark])])
        except NotFound:
            ours.close()
            raise
        finally:
            stream.theirs.close()
        return ours

    def resize(self, key: str, rows: int, columns: int) -> None:
        """Set the size of a process's terminal. ``NotFound`` if the process has ended."""
        self._tell(key, ("resize", rows, columns))

    def land(self, key: str, landings: Sequence[Landing], *, timeout: float = 5.0) -> None:
        """Have its monitor watch just these landings. ``NotFound`` if the process has ended."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            messages.fill(ours, _boxed(landings))
            self._tell(key, ("landings",), [theirs.fileno()])
            theirs.close()
            ours.settimeout(timeout)
            try:
                ours.recv(1)
            except TimeoutError:
                raise Unavailable(f"the monitor of {key[:12]} does not answer") from None

    def take_landings(self) -> dict[str, list[Landing]]:
        """What the monitors that were adopted watch already, by key; the descriptors are the caller's from now on."""
        taken, self._landings = self._landings, {}
        return taken

    def lives(self, key: str) -> bool:
        """Whether its monitor is there. One that was killed is not as soon as anyone may have seen its streams end: the
        kernel takes all descriptors away before it closes them (exit_files(), close(2))."""
        pid = self._monitors.get(key)
        try:
            return pid is not None and bool(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        except OSError:
            return False

    def forget(self, key: str, *, timeout: float = 15.0) -> None:
        """Wait until the monitor of an ended process has gone, and with it its hold on the root file system."""
        with self._lock:
            pid = self._monitors.pop(key, 0)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            try:
                gone = select.poll()  # not select(2), for which there are 1024 descriptors at most
                gone.register(fd, select.POLLIN)
                gone.poll(timeout * 1000)
            finally:
                os.close(fd)

    def _send(self, message: dict[str, Any], fds: list[int]) -> None:
        kind = message["kind"]
        with self._lock:
            if not self._launcher:
                raise Unavailable("the daemon is shutting down")
            try:
                messages.send(self._launcher[kind], message, fds)
            except OSError:
                self._let_go()
                self._launcher = self._execute_launcher()  # somebody killed it; the monitors do not need it
                messages.send(self._launcher[kind], message, fds)

    def _let_go(self) -> None:
        for each in self._launcher.values():
            each.close()
        self._launcher = {}

    def _await_start(self, key: str, control: socket.socket, timeout: float) -> Started:
        control.settimeout(timeout)
        try:
            answer, _ = messages.receive(control)
        except TimeoutError:
            control.close()
            raise Unavailable(f"the runtime did not start {key[:12]} within {timeout:.0f} seconds") from None
        if answer is None:
            control.close()
            raise Internal(f"the monitor of {key[:12]} died before its process was started; see the daemon's log")
        if answer[0] == "failed":
            control.close()
            raise StartFailed(answer[1], answer[2])
        started = Started(*answer[1:])
        self._register(key, control, started.monitor)
        return started

    def _register(self, key: str, control: socket.socket, monitor: int) -> None:
        control.setblocking(False)
        with self._lock:
            self._controls[key] = control
            self._monitors[key] = monitor
            self._keys[control.fileno()] = key
        self._poll.register(control.fileno(), select.EPOLLIN)

    def _tell(self, key: str, message: Any, fds: Sequence[int] = ()) -> None:
        with self._lock:
            control = self._controls.get(key)
            if control is None:
                raise NotFound(f"{key[:12]} is not running")
            try:
                messages.send(control, message, fds)
            except OSError:
                raise NotFound(f"{key[:12]} is not running") from None

    def _watch(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._wake:
                    return
                self._hear(fd)

    def _hear(self, fd: int) -> None:
        with self._lock:
            key = self._keys[fd]
            control = self._controls[key]
        try:
            message, _ = messages.receive(control)
        except BlockingIOError:
            return
        except OSError:
            message = None
        if message is not None and message[0] == "marks":
            self.on_marks(key, message[1])
        if message is not None and message[0] != "exit":
            return
        with self._lock:
            self._poll.unregister(fd)
            del self._keys[fd], self._controls[key]
            control.close()
        lost = message is None
        self._on_exit(key, Exit(137, False, time.time_ns(), lost=True) if lost else Exit(*message[1:]))

    def _from_status(self, directory: Path) -> Exit | None:
        try:
            status = msgspec.json.decode((directory / _STATUS).read_bytes(), type=_Status)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        if status.exit is None:
            return Exit(137, False, time.time_ns(), lost=True)
        return Exit(status.exit, status.oom, status.finished)

    def _execute_launcher(self) -> dict[str, socket.socket]:
        ours, theirs = {}, {}
        for kind in ("start", "exec"):
            ours[kind], theirs[kind] = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        interpreter = mounts.bind(os.path.realpath(sys.executable), read_only=True)
        starts, execs = theirs["start"].fileno(), theirs["exec"].fileno()
        usual = messages.keep(self._usual)
        path = module_path(self._modules)
        code = _START.format(
            path=path, starts=starts, execs=execs, usual=usual, files=openfiles.GIVEN, modules=self._modules
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", "-c", code],
                executable=f"/proc/self/fd/{interpreter}",
                pass_fds=[starts, execs, usual, interpreter],
                stdin=self._lock_of_launches,  # whatever comes of this process holds the lock by its standard input
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        finally:
            for each in theirs.values():
                each.close()
            os.close(interpreter)
            os.close(usual)
        return ours


_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH")
"""Of the daemon's environment. What else is there is nothing for processes that go into containers."""


def _sole_right(path: Path) -> int:
    """A descriptor with an exclusive flock(2), which goes to all who inherit it and ends with the last of them."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LAUNCHES
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                log.error("what an earlier daemon was starting hangs for %.0f seconds: going on without it", _LAUNCHES)
                return fd
            time.sleep(0.005)
        else:
            return fd


def module_path(modules: Iterable[str]) -> list[str]:
    """The directories from which sampan and these modules are imported: the launcher runs without site-packages."""
    found = [str(Path(sampan.__file__).parent.parent)]
    for name in modules:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise Unavailable(f"the runtime's module {name} cannot be found")
        directory = str(Path(spec.origin).parents[name.count(".")])
        if directory not in found:
            found.append(directory)
    return found


@functools.cache
def _path_of(module: str) -> list[str]:
    return module_path([module])


def _boxed(landings: Iterable[Landing]) -> list[tuple[Any, int]]:
    return [((each.route, each.place), each.fd) for each in landings]


def _unboxed(box: int) -> list[Landing]:
    end = socket.socket(fileno=box)
    end.settimeout(5)
    with end:
        told, fds = messages.unboxed(end)
    return [Landing(route, place, fd) for (route, place), fd in zip(told, fds, strict=True)]


def _message(launch: Launch) -> dict[str, Any]:
    if launch.kind == "start" and launch.root is None:
        raise Conflict("a container is started with a root file system")
    return {
        "key": launch.key,
        "kind": launch.kind,
        "module": launch.module,
        "path": _path_of(launch.module),
        "root": launch.root is not None,
        "tty": launch.tty,
        "stdin": launch.stdin,
        "stdin_once": launch.stdin_once,
        "log": launch.log,
        "streams": [stream.wants for stream in launch.streams],
        "size": launch.size,
        "landings": bool(launch.landings),
        "directory": None if launch.directory is None else os.fsencode(launch.directory),
    }
