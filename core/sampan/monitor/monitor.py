"""The monitor: the parent of one container's init, or of one exec'ed process.

It has the runtime's half start the process, holds its standard streams, writes its log, reaps it, and keeps its exit
status in a file until the daemon has seen it. It needs no daemon for any of this. It ends when the process has ended,
what it said has been delivered, and the runtime has cleaned up.

A run directory (``directory`` in the launch message) holds ``monitor.sock``, where a new daemon finds a monitor that
an earlier one had started, and ``status``: one line of JSON, replaced whole.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import os
import select
import struct
import sys
import termios
import time

from sampan.errors import StartFailed
from sampan.linux import messages, process
from sampan.linux.suppress import suppress
from sampan.monitor.landings import Landings
from sampan.monitor.log import open_log
from sampan.monitor.relay import Loop, Relay
from sampan.monitor.starter import LESS, Starter, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_SOCKET = "monitor.sock"
_LARGEST = 0xFFFF  # struct winsize has 16 bits for each (TIOCSWINSZ(2const))
_SOON = 0.005  # seconds in which many a process has done what it was started for
_PATIENCE = 10.0  # seconds that a client may take to read the rest after the end


def serve(
    sock: Any, told: int, module: str, load: Callable[[str], Any], ahead: Any, warm: Callable[[], None] | None
) -> int:
    """Wait for a launch message on the launcher's ``sock`` and serve it to its end; the process's exit status.

    The launcher reads from ``told``: a byte when this monitor has a message and its starter is at it, and the end when
    it has settled, or has died. ``ahead`` are the arguments for the runtime's ``ready``; ``warm`` is called while there
    is nothing else to do.
    """
    os.setsid()
    _call_me("sampan-monitor")
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    starter = Starter(load(module), load, ahead, close=[sock.fileno(), told])
    if warm:
        warm()
    message, fds = messages.receive(sock)
    if message is None:  # the daemon has gone
        starter.give_up()
        return 0
    sock.close()
    try:
        return _run(message, fds, load, starter, told)
    except BaseException as error:
        complain(f"monitor of {message.get('key')}", error)
        return 1


def _run(message: dict[str, Any], fds: list[int], load: Callable[[str], Any], starter: Starter, told: int) -> int:
    """Serve one launch message (see ``sampan.containers.monitors``)."""
    control: Any = _socket.socket(fileno=fds[0])
    given, clients = (fds[:3], fds[3:]) if message["root"] else (fds[:2], fds[2:])
    sys.path[:0] = [entry for entry in message["path"] if entry not in sys.path]
    try:
        runtime = load(message["module"])
    except Exception as error:  # somebody else's module
        complain(message["module"], error)
        why = f"the runtime's module {message['module']} cannot be used: {type(error).__name__}: {error}"
        _try_to_send(control, ("failed", why, 128))
        return 0
    if getattr(runtime, "SUBREAPER", False):
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    streams = Streams(message)
    try:
        starter.ask(message, given, streams.theirs)
    except BrokenPipeError:  # somebody killed it, or what it had made ahead
        starter = Starter(runtime, load, None, close=[told])
        starter.ask(message, given, streams.theirs)
    watch = Watch(message, runtime, streams, clients, *given[1:])  # while the starter is at it
    with suppress(OSError):  # the launcher may have been killed
        os.write(told, b"t")
    try:
        pid, terminal = starter.answer()
    except StartFailed as failure:
        _try_to_send(control, ("failed", failure.message, failure.exit_code))
        _end_all()
        return 0
    watch.begin(control, pid, terminal, starter.keeper)
    streams.given()
    if getattr(runtime, "SUBREAPER", False):  # what the process leaves behind is not ours: we would not reap it
        starter.reap()  # whose child it may be until then
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 0)
    _quiet()

    def settle() -> None:
        os.close(told)
        starter.reap()

    watch.wait(settle)
    starter.reap()
    return 0


def _end_all() -> None:
    """A start has failed, so nothing of it may live: the starter may have died after the process was made.

    Nobody else could reap them: an orphan goes to the init of its own PID namespace, and a container's may never wait.
    """
    with suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN
        fd = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
        for pid in os.read(fd, 4096).split():
            os.kill(int(pid), _signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _call_me(name: str) -> None:
    # As PR_SET_NAME does, without a first use of ctypes in this process: that alone would take 120 KB.
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, name.encode())
    os.close(fd)


def _quiet() -> None:
    # The daemon's standard error is for what goes wrong at the start: whoever reads it must see it end with the daemon.
    # Our standard input is the lock by which a new daemon waits for those that it could not find yet.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 2)
    os.close(null)


class Streams:
    """The three descriptors that the process gets, and our ends of them."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.theirs: list[int] = []
        self.input = self.output = self.error = -1
        if message["tty"]:
            return
        if message["stdin"]:
            theirs, self.input = os.pipe()
        else:
            theirs = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.output, out = os.pipe()
        self.error, err = os.pipe()
        self.theirs = [theirs, out, err]

    def given(self) -> None:
        """The process has its ends: let go of them, so that theirs closing is seen."""
        for fd in self.theirs:
            os.close(fd)


class Watch:
    """A process that is being started, and then until it has ended and everyone who should know knows."""

    def __init__(
        self,
        message: dict[str, Any],
        runtime: Any,
        streams: Streams,
        clients: list[int],
        order: int,
        root: int = -1,
    ) -> None:
        """All that can be done before there is a process: the log, the streams, the clients that are attached."""
        self._message = message
        self._runtime = runtime
        self._controls: list[Any] = []
        self._pid = 0
        self._keeper: tuple[int, int] | None = None
        self._order = order  # unread until the end: what has been read takes memory
        self._root = root
        self._at = 0
        self._terminal = -1
        self._loop = Loop()
        self._landings = Landings(self._loop, lambda: [control.fileno() for control in self._controls])
        self._relay = Relay(self._loop, open_log(message["log"]), tty=message["tty"], stdin_once=message["stdin_once"])
        self._directory = -1
        self._listener: Any = None
        if message["directory"]:
            self._directory = os.open(message["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if streams.output >= 0:
            self._relay.source(streams.output, 1)
            self._relay.source(streams.error, 2)
        if streams.input >= 0:
            self._relay.sink(streams.input)
        if message["landings"]:
            self._land(clients.pop())
        for fd, wants in zip(clients, message["streams"], strict=True):
            self._relay.attach(fd, wants)

    def begin(self, control: Any, pid: int, terminal: int, keeper: tuple[int, int] | None = None) -> None:
        """The process runs: tell the daemon, then whoever may look for us later.

        A daemon that follows the one that is told waits until our standard input, the lock of launches, is closed.
        """
        self._pid = pid
        self._keeper = keeper
        self._at = time.time_ns()
        if terminal >= 0:
            self._terminal = terminal
            self._relay.source(os.dup(terminal), 1)
            self._relay.sink(os.dup(terminal))
            if self._message["size"]:
                self._resize(*self._message["size"])
        self._welcome(control)
        if self._directory >= 0:
            self._keep_status("")
            self._listen()

    def turn(self, timeout: float | None = None) -> None:
        """Serve whatever is ready."""
        self._loop.turn(timeout)

    def wait(self, settle: Callable[[], None]) -> None:
        """Serve until the process has ended and everyone has been told.

        ``settle`` is what is left to do of the start. It takes time that a process may need that has just begun, or the
        daemon, to tell of it, so it comes a little later.
        """
        self._await_end(settle)
        init = self._message["kind"] == "start"
        order = messages.kept(self._order) if init or self._keeper else None
        starved = init and self._runtime.ended(order)
        if self._keeper:
            code = self._runtime.exit_code(order, self._keeper)
        else:
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._end(order, code if code >= 0 else 128 - code, starved)

    def _await_end(self, settle: Callable[[], None]) -> None:
        try:
            ended = os.pidfd_open(self._pid)
        except ProcessLookupError:  # it was short, and not our child
            return
        over: list[int] = []
        self._loop.watch(ended, select.EPOLLIN, over.append)
        soon = time.monotonic() + _SOON
        while not over and (left := soon - time.monotonic()) > 0:
            self.turn(left)
        if not over:
            settle()
        while not over:
            self.turn()
        self._loop.forget(ended)
        os.close(ended)

    def _end(self, order: Any, code: int, starved: bool) -> None:
        at = time.time_ns()
        self._landings.close()
        self._relay.drain()
        for control in self._controls:
            _try_to_send(control, ("exit", code, starved, at))
        self._relay.dismiss()
        os.nice(LESS)
        self._keep_status(f',"exit":{code},"oom":{"true" if starved else "false"},"finished":{at}')
        if self._listener:  # whoever looks for us from now on reads the status; so do those that were not let in
            self._loop.forget(self._listener.fileno())
            self._listener.close()
        self._relay.finish(_PATIENCE)
        if self._root >= 0:
            os.close(self._root)
        if self._message["kind"] == "start":
            self._runtime.finish(order)

    def _keep_status(self, rest: str) -> None:
        if self._directory < 0:
            return
        text = f'{{"pid":{self._pid},"monitor":{os.getpid()},"started":{self._at}{rest}}}\n'
        try:
            fd = os.open("status.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._directory)
            os.write(fd, text.encode())
            os.close(fd)
            os.rename("status.new", "status", src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileNotFoundError:
            return  # the container was removed meanwhile

    def _listen(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(_SOCKET, dir_fd=self._directory)  # of the container's run before this one
        listener: Any = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        # A path through our descriptor of the directory is short, whatever the directory's: 108 bytes is all that
        # a socket's name may have (unix(7)).
        listener.bind(f"/proc/self/fd/{self._directory}/{_SOCKET}")
        listener.listen(16)
        self._listener = listener

        def accept(_events: int) -> None:
            fd, _ = listener._accept()
            control: Any = _socket.socket(fileno=fd)
            self._welcome(control)

        self._loop.watch(listener.fileno(), select.EPOLLIN, accept)

    def _welcome(self, control: Any) -> None:
        """Tell a daemon what it needs to know, and listen to it; one that has followed another has no landings yet."""
        box = []
        if self._landings.fds and self._listener:
            box = [messages.box(zip(self._landings.routes, self._landings.fds, strict=True))]
        _try_to_send(control, ("started", self._pid, os.getpid(), self._at), [each.fileno() for each in box])
        for each in box:
            each.close()
        control.setblocking(False)
        self._controls.append(control)
        self._loop.watch(control.fileno(), select.EPOLLIN, lambda _events: self._serve_control(control))

    def _serve_control(self, control: Any) -> None:
        try:
            message, fds = messages.receive(control)
        except OSError:
            message, fds = None, []
        if message is None:
            self._loop.forget(control.fileno())
            self._controls.remove(control)
            control.close()
        elif message[0] == "attach":
            self._relay.attach(fds[0], message[1])
            for fd in fds[1:]:
                self._relay.mark(fd)
        elif message[0] == "resize":
            self._resize(message[1], message[2])
        elif message[0] == "landings":
            self._land(fds[0])

    def _land(self, fd: int) -> None:
        box = messages.connect(fd)
        self._landings.change(*messages.unboxed(box))
        box.close()  # which says that it is done

    def _resize(self, rows: int, columns: int) -> None:
        if self._terminal >= 0:
            rows, columns = (min(max(each, 0), _LARGEST) for each in (rows, columns))
            with suppress(OSError):  # a size is not worth a container
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _try_to_send(control: Any, message: Any, fds: Sequence[int] = ()) -> None:
    try:
        messages.send(control, message, fds)
    except OSError:
        return  # that daemon is gone, or does not read: the status file tells the next one
