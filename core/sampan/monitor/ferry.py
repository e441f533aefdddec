"""The ferry: carries connections and datagrams that come to landings (:mod:`sampan.monitor.landings`) to the container.

A connection that is half closed stays so on the other side; one that the container refuses is reset. Whoever sends
datagrams has a socket of his own towards the container, so that answers find him, for as long as Docker's proxy gives.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import os
import resource
import select
import struct
import time

from sampan.linux.suppress import suppress
from sampan.monitor.relay import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PIECE = 256 * 1024
_DATAGRAM = 65535
_IDLE = 10.0  # seconds without anybody after which a ferry goes; the next who comes gets a new one
_SILENT = 90.0  # seconds that a sender of datagrams may be silent and still be known
_SPARE = 64  # descriptors that are not for clients
_IN6_PKTINFO = struct.Struct("=16sI")  # ipv6(7)
_LINK_LOCAL = b"\xfe\x80"


def serve(routes: Sequence[Any], fds: Sequence[int]) -> None:
    """Carry until nobody has come for a while, or SIGTERM has come and all have arrived.

    ``fds`` are sockets that listen, or are bound where datagrams come; their ``routes`` are the protocol and the
    container's address and port, and what does not matter here. They are not blocking.
    """
    ferry = Ferry()
    for ((protocol, address, port), _), fd in zip(routes, fds, strict=True):
        (Quay if protocol == "tcp" else Post)(ferry, fd, (address, port))
    _signal.signal(_signal.SIGTERM, lambda _number, _frame: ferry.retire())
    while ferry.turn():
        pass


class Ferry:
    """All that one process carries."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.landings: list[Quay | Post] = []
        self.aboard = 0
        self.room = max((resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE) // 2, 1)
        self._ends = False

    def turn(self) -> bool:
        busy = self.loop.turn(_IDLE)
        for landing in self.landings:
            landing.look()
        return self.aboard > 0 or (busy and not self._ends)

    def board(self, number: int) -> None:
        """One more is aboard, or one less."""
        was_room, self.aboard = self.aboard < self.room, self.aboard + number
        if was_room != (self.aboard < self.room):
            for landing in self.landings:
                landing.watch(not was_room)

    def retire(self) -> None:
        """Take nobody in any more."""
        self._ends = True
        landings, self.landings = self.landings, []
        for landing in landings:
            landing.close()
        if not self.aboard:
            os._exit(0)


class Quay:
    """Where connections come."""

    def __init__(self, ferry: Ferry, fd: int, target: tuple[str, int]) -> None:
        self._ferry = ferry
        self._socket: Any = _socket.socket(fileno=fd)
        self._target = target
        ferry.landings.append(self)
        self.watch(True)

    def watch(self, there_is_room: bool) -> None:
        _watch(self._ferry.loop, self._socket, select.EPOLLIN if there_is_room else 0, self._come)

    def close(self) -> None:
        self.watch(False)
        self._socket.close()

    def look(self) -> None:
        """Nothing grows old here."""

    def _come(self, _events: int) -> None:
        try:
            fd, _ = self._socket._accept()
        except OSError:  # the client has gone again
            return
        os.set_blocking(fd, False)
        Crossing(self._ferry, _socket.socket(fileno=fd), self._target)


class Crossing:
    """A client's connection, and the one that continues it to the container."""

    def __init__(self, ferry: Ferry, client: Any, target: tuple[str, int]) -> None:
        other: Any = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
        self._ferry = ferry
        self._ends = (client, other)
        self._waiting = [memoryview(b""), memoryview(b"")]  # what each end is still to be sent
        self._sends = [True, True]  # may each end still send something?
        self._connected = False
        ferry.board(1)
        for end in self._ends:
            end.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if other.connect_ex(target) not in (0, errno.EINPROGRESS):
            self._refuse()
            return
        self._listen(1)

    def _listen(self, end: int) -> None:
        events = select.EPOLLOUT if self._waiting[end] else 0
        if not self._connected:
            events = select.EPOLLOUT if end else 0
        elif self._sends[end] and not self._waiting[1 - end]:
            events |= select.EPOLLIN
        _watch(self._ferry.loop, self._ends[end], events, self._first if end == 0 else self._second)

    def _first(self, events: int) -> None:
        self._ready(0, events)

    def _second(self, events: int) -> None:
        if self._connected:
            self._ready(1, events)
        elif self._ends[1].getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            self._refuse()
        elif _leads_somewhere(self._ends[1]):
            self._connected = True
            self._listen(0)
            self._listen(1)

    def _ready(self, end: int, events: int) -> None:
        """Errors are found by sending and receiving: an event may be the last of an earlier owner's of a descriptor."""
        try:
            if self._waiting[end]:
                self._waiting[end] = self._waiting[end][self._send(end, self._waiting[end]) :]
            if events & ~select.EPOLLOUT and not self._waiting[1 - end]:
                self._carry(end)
        except OSError:
            self._refuse()
        if self._ends[0].fileno() < 0:
            return
        if any(self._sends):
            self._listen(0)
            self._listen(1)
        else:
            self._close()

    def _carry(self, end: int) -> None:
        try:
            data = self._ends[end].recv(_PIECE)
        except BlockingIOError:
            return
        if data:
            self._waiting[1 - end] = memoryview(data)[self._send(1 - end, data) :]
        else:
            self._sends[end] = False
            self._ends[1 - end].shutdown(_socket.SHUT_WR)

    def _send(self, end: int, data: bytes | memoryview) -> int:
        try:
            sent: int = self._ends[end].send(data)
        except BlockingIOError:
            return 0
        return sent

    def _refuse(self) -> None:
        """Both are reset (socket(7), SO_LINGER)."""
        for end in self._ends:
            with suppress(OSError):
                end.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _close(self) -> None:
        for end in self._ends:
            self._ferry.loop.forget(end.fileno())
            end.close()
        self._ferry.board(-1)


class Post:
    """Where datagrams come."""

    def __init__(self, ferry: Ferry, fd: int, target: tuple[str, int]) -> None:
        self._ferry = ferry
        self._socket: Any = _socket.socket(fileno=fd)
        self._socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_RECVPKTINFO, 1)
        self._target = target
        self._senders: dict[Any, Sender] = {}
        ferry.landings.append(self)
        self.watch(True)

    def watch(self, _there_is_room: bool) -> None:
        _watch(self._ferry.loop, self._socket, select.EPOLLIN, self._come)

    def close(self) -> None:
        for sender in list(self._senders):
            self._forget(sender)
        _watch(self._ferry.loop, self._socket, 0, self._come)
        self._socket.close()

    def look(self) -> None:
        """Forget who has been silent for long; the one heard last is last."""
        now = time.monotonic()
        while self._senders:
            eldest = next(iter(self._senders))
            if now - self._senders[eldest].heard < _SILENT and self._ferry.aboard <= self._ferry.room:
                return
            self._forget(eldest)

    def answer(self, data: bytes, who: tuple[Any, bytes]) -> None:
        """From the address that he has written to."""
        address, to = who
        with suppress(OSError):
            self._socket.sendmsg([data], [(_socket.IPPROTO_IPV6, _socket.IPV6_PKTINFO, to)] if to else [], 0, address)

    def _come(self, _events: int) -> None:
        try:
            data, ancillary, _, address = self._socket.recvmsg(_DATAGRAM, 256)
        except OSError:
            return
        who = (address, _answering(ancillary))
        sender = self._senders.pop(who, None)
        try:
            if sender is None:
                sender = Sender(self, self._ferry.loop, who, self._target)
                self._ferry.board(1)
            self._senders[who] = sender
            sender.send(data)
        except OSError:  # no descriptor is left: a datagram may get lost
            return

    def _forget(self, who: Any) -> None:
        self._senders.pop(who).close()
        self._ferry.board(-1)


class Sender:
    """Somebody who sends datagrams, as the container sees him."""

    def __init__(self, post: Post, loop: Loop, who: tuple[Any, bytes], target: tuple[str, int]) -> None:
        self.heard = time.monotonic()
        self._post = post
        self._loop = loop
        self._who = who
        self._socket: Any = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.connect(target)
        loop.watch(self._socket.fileno(), select.EPOLLIN, self._answered)

    def send(self, data: bytes) -> None:
        self.heard = time.monotonic()
        with suppress(OSError):  # nobody listens there, or it is too much: lost, as datagrams are
            self._socket.send(data)

    def close(self) -> None:
        self._loop.forget(self._socket.fileno())
        self._socket.close()

    def _answered(self, _events: int) -> None:
        try:
            data = self._socket.recv(_DATAGRAM)
        except OSError:
            return
        self._post.answer(data, self._who)


def _leads_somewhere(sock: Any) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _answering(ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """What came with a datagram, for its answers: the link is only said where the address alone would not do."""
    for _, kind, data in ancillary:
        if kind == _socket.IPV6_PKTINFO:
            address, link = _IN6_PKTINFO.unpack(data)
            return _IN6_PKTINFO.pack(address, link if address.startswith(_LINK_LOCAL) else 0)
    return b""


def _watch(loop: Loop, sock: Any, events: int, callback: Any) -> None:
    """Nothing to wait for is nothing to hear of, not even that the other side has gone."""
    if events:
        loop.watch(sock.fileno(), events, callback)
    else:
        loop.forget(sock.fileno())
