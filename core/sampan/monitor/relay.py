"""Carrying bytes between a container's standard streams, its log and the clients that are attached to it.

Clients get Docker's framing (Engine API, "Stream format"): eight bytes, the stream's number, three zeroes and the
length in big endian, before each piece; or the bare bytes when the container has a terminal. What a client sends is
the container's standard input, bare.
"""

from __future__ import annotations

import fcntl
import os
import select

from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.monitor.log import Log
    from sampan.monitor.ring import Ring

_PIECE = 64 * 1024
_HIGH = 1 << 20  # a client that is this many bytes behind makes the container wait, as Docker's does
_INPUT_HIGH = 64 * 1024
_HIGHEST_PIPE = 1 << 20  # what a pipe may hold (proc_sys_fs(5), pipe-max-size)


class Loop:
    """A readiness loop: callbacks by descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call back with the events of ``fd``; errors and hang-ups are always among them (epoll_ctl(2))."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def turn(self, timeout: float | None = None) -> bool:
        """Wait once, at most ``timeout`` seconds; False if nothing happened."""
        ready = self._epoll.poll(timeout)
        for fd, events in ready:
            callback = self._callbacks.get(fd)
            if callback:
                callback(events)
        return bool(ready)


class Client:
    """An attached stream: which of stdin, stdout and stderr it wants, and what it has not taken yet."""

    def __init__(self, relay: Relay, fd: int, wants: tuple[bool, bool, bool]) -> None:
        self.fd = fd
        self.wants = wants
        self.waiting = bytearray()
        self._relay = relay
        self._sends = True
        os.set_blocking(fd, False)
        self.listen()

    def listen(self) -> None:
        events = select.EPOLLOUT if self.waiting else 0
        if self._sends and not self._relay.input_full:
            events |= select.EPOLLIN
        self._relay.loop.watch(self.fd, events, self._ready)

    def send(self, data: bytes) -> None:
        if not self.waiting:
            data = data[self._write(data) :]
        if data and self.fd >= 0:
            self.waiting += data
            self.listen()

    def close(self) -> None:
        if self.fd >= 0:
            self._relay.loop.forget(self.fd)
            os.close(self.fd)
            self.fd = -1
            self.waiting.clear()
            self._relay.gone(self)

    def _ready(self, events: int) -> None:
        if events & select.EPOLLIN:
            self._read()
        if events & select.EPOLLOUT and self.fd >= 0:
            del self.waiting[: self._write(self.waiting)]
            if self.fd >= 0:
                self.listen()
                self._relay.drained()
        if events & (select.EPOLLHUP | select.EPOLLERR) and not events & select.EPOLLIN:
            if self._sends and self._relay.input_full:
                self._relay.loop.forget(self.fd)  # what it sent before it went is read when there is room again
            else:
                self.close()

    def _read(self) -> None:
        try:
            data = os.read(self.fd, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._sends = False
            self.listen()
        if self.wants[0]:
            self._relay.feed(data)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0


class Relay:
    """All streams of one container."""

    def __init__(self, loop: Loop, log: Log | Ring | None, *, tty: bool, stdin_once: bool) -> None:
        self.loop = loop
        self.input_full = False
        self._log = log
        self._tty = tty
        self._stdin_once = stdin_once
        self._clients: list[Client] = []
        self._sources: dict[int, int] = {}
        self._wide: set[int] = set()
        self._paused = False
        self._input = -1
        self._input_waiting = bytearray()
        self._input_ends = False

    def source(self, fd: int, number: int) -> None:
        """Carry what can be read from ``fd`` as stream ``number`` (1 stdout, 2 stderr)."""
        os.set_blocking(fd, False)
        self._sources[fd] = number
        self._listen_to(fd)

    def sink(self, fd: int) -> None:
        """Clients' input goes to ``fd``."""
        os.set_blocking(fd, False)
        self._input = fd

    def attach(self, fd: int, wants: tuple[bool, bool, bool]) -> None:
        self._clients.append(Client(self, fd, wants))

    def mark(self, fd: int) -> None:
        """What is carried from now on is not in the log as it is told to ``fd`` (:meth:`Log.mark`)."""
        if self._log:
            self._log.mark(fd)
        else:
            os.close(fd)

    def feed(self, data: bytes) -> None:
        """Input from a client; empty: that client will send no more."""
        if data and self._input >= 0:
            self._input_waiting += data
        elif not data and self._stdin_once:
            self._input_ends = True
        self._pour()

    def gone(self, client: Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
        if client.wants[0] and self._stdin_once:
            self.feed(b"")
        self.drained()

    def drained(self) -> None:
        if self._paused and not self._behind():
            self._paused = False
            for fd in self._sources:
                self._listen_to(fd)

    def drain(self) -> None:
        """The process has ended: carry what it has left in its pipes, and log the last line.

        A process that it has left behind may go on writing (an exec's): that is nobody's any more.
        """
        for fd in list(self._sources):
            left = _HIGHEST_PIPE
            while fd in self._sources and left > 0 and (carried := self._carry(fd)):
                left -= carried
            if fd in self._sources:
                self._close_source(fd)
        if self._log:
            self._log.close()
            self._log = None

    def dismiss(self) -> None:
        """Close every client that has taken everything."""
        for client in list(self._clients):
            if not client.waiting:
                client.close()

    def finish(self, patience: float) -> None:
        """Close every client as soon as it has taken everything; those that take nothing for ``patience`` seconds."""
        self.dismiss()
        while self._clients and self.loop.turn(patience):
            self.dismiss()
        for client in list(self._clients):
            client.close()

    def _behind(self) -> bool:
        return any(len(client.waiting) > _HIGH for client in self._clients)

    def _listen_to(self, fd: int) -> None:
        self.loop.watch(fd, select.EPOLLIN, lambda _events: self._carry_on(fd))

    def _carry_on(self, fd: int) -> None:
        self._carry(fd)
        if self._behind() and not self._paused:
            self._paused = True
            for each in self._sources:
                self.loop.forget(each)

    def _carry(self, fd: int) -> int:
        """Carry what can be read now, and say how many bytes that were."""
        try:
            data = os.read(fd, _PIECE)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: nobody has the terminal's other end open any more
            data = b""
        number = self._sources[fd]
        if not data:
            self._close_source(fd)
            return 0
        if len(data) == _PIECE:
            self._widen(fd)
        if self._log:
            self._log.write(number, data)
        if not self._clients:
            return len(data)
        framed = data if self._tty else b"%c\0\0\0%b%b" % (number, len(data).to_bytes(4, "big"), data)
        for client in list(self._clients):
            if client.wants[number]:
                client.send(framed)
        return len(data)

    def _widen(self, fd: int) -> None:
        """One that writes much need not wait for us at every piece; a pipe that is quiet takes no memory for it."""
        if fd not in self._wide:
            self._wide.add(fd)
            with suppress(OSError):  # a terminal, or more than the kernel lets pipes have
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _HIGHEST_PIPE)

    def _close_source(self, fd: int) -> None:
        del self._sources[fd]
        self.loop.forget(fd)
        os.close(fd)

    def _pour(self) -> None:
        if self._input < 0:
            return
        try:
            if self._input_waiting:
                del self._input_waiting[: os.write(self._input, self._input_waiting)]
        except BlockingIOError:
            pass
        except OSError:  # the container closed its end: the rest is for nobody
            self._close_input()
            return
        if self._input_ends and not self._input_waiting and not self._tty:
            self._close_input()
            return
        if self._input_waiting:
            self.loop.watch(self._input, select.EPOLLOUT, lambda _events: self._pour())
        else:
            self.loop.forget(self._input)
        self._throttle(len(self._input_waiting) > _INPUT_HIGH)

    def _throttle(self, full: bool) -> None:
        if full != self.input_full:
            self.input_full = full
            for client in self._clients:
                client.listen()

    def _close_input(self) -> None:
        self.loop.forget(self._input)
        os.close(self._input)
        self._input = -1
        self._input_waiting.clear()
        self._throttle(False)
