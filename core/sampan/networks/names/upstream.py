"""Asking other name servers on behalf of one container.

The servers of the host are asked from the host's network namespace, where its own loopback is, too; those that the
user names for the container from the container's, as libnetwork does. They are asked one after another; one that
does not answer within four seconds, or answers that it failed, gives way to the next. Everything here happens in the
loop's thread.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sampan.linux import netns
from sampan.networks.names import messages
from sampan.networks.names.loop import READ, WRITE, Loop
from sampan.networks.names.messages import REFUSED, SERVFAIL, Query

TIMEOUT = 4.0
"""Seconds for one server."""
BOUND = 1024
"""Questions that are being asked at a time."""
SERVERS = 3
"""As many as resolv.conf(5) has."""

_STREAMS = 64  # connections at a time: each costs the daemon a descriptor
_CROWD = 64  # questions by one socket, before the next ones get another, with another port
_LIFETIME = 30.0  # seconds for one socket
_BURST = 64
_PORT = 53

Done = Callable[[bytes | None], object]
"""Gets the answer, or None if there is none."""


class Server(NamedTuple):
    address: str
    of_host: bool


class Upstream:
    """``namespace`` is a descriptor of the container's network namespace."""

    def __init__(self, loop: Loop, namespace: int) -> None:
        self._loop = loop
        self._namespace = namespace
        self._lines: dict[Server, _Line] = {}
        self._asking: set[_Question] = set()
        self._streams = 0

    def ask(self, message: bytes, query: Query, servers: Iterable[Server], done: Done, *, stream: bool) -> None:
        """``stream``: ask by TCP, as we were asked ourselves."""
        if len(self._asking) >= BOUND or (stream and self._streams >= _STREAMS):
            done(messages.answer(query, code=REFUSED))
            return
        question = _Question(message, query, deque(tuple(servers)[:SERVERS]), done, stream)
        self._asking.add(question)
        self._streams += stream
        self._next(question)

    def close(self) -> None:
        for question in list(self._asking):
            question.drop()
        self._asking.clear()
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def open(self, server: Server, kind: int) -> socket.socket:
        """A socket on its way to the server. ``OSError`` if there is no way."""
        address = ipaddress.ip_address(server.address)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        namespace = contextlib.nullcontext() if server.of_host else netns.visiting(self._namespace)
        with namespace:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            try:
                with contextlib.suppress(BlockingIOError):
                    sock.connect(_place(address))
            except BaseException:
                sock.close()
                raise
        return sock

    def _next(self, question: _Question) -> None:
        while question.servers:
            server = question.servers.popleft()
            question.attempt += 1
            try:
                self._send(question, server)
            except (OSError, ValueError):
                question.drop()
                continue
            self._loop.later(TIMEOUT, functools.partial(self._late, question, question.attempt))
            return
        self._finish(question, question.failure)

    def _send(self, question: _Question, server: Server) -> None:
        heard = functools.partial(self._heard, question)
        if question.stream:
            question.drop = _Stream(self._loop, self.open(server, socket.SOCK_STREAM), question.message, heard).close
            return
        line = self._lines.get(server)
        if line is None or line.worn:
            line = self._lines[server] = _Line(self._loop, self.open(server, socket.SOCK_DGRAM))
        question.drop = functools.partial(line.forget, line.send(question.message, heard))

    def _late(self, question: _Question, attempt: int) -> None:
        if question in self._asking and question.attempt == attempt:
            question.drop()
            self._next(question)

    def _heard(self, question: _Question, answer: bytes | None) -> bool:
        """None: the server cannot be reached. Is that what was waited for?"""
        if answer is not None and not messages.answers(answer, question.query):
            return False
        if question not in self._asking:
            return True
        question.drop()
        if answer is None or messages.code(answer) in (SERVFAIL, REFUSED):
            question.failure = answer or question.failure
            self._next(question)
        else:
            self._finish(question, answer)
        return True

    def _finish(self, question: _Question, answer: bytes | None) -> None:
        self._asking.discard(question)
        self._streams -= question.stream
        question.done(answer and messages.with_ident(answer, question.query.ident))


class _Question:
    """One question on its way round the servers. ``drop`` lets go of the one that was asked last."""

    def __init__(self, message: bytes, query: Query, servers: deque[Server], done: Done, stream: bool) -> None:
        self.message = message
        self.query = query
        self.servers = servers
        self.done = done
        self.stream = stream
        self.attempt = 0
        self.failure: bytes | None = None
        self.drop: Callable[[], object] = lambda: None


Heard = Callable[[bytes | None], bool]


class _Line:
    """A socket by which many questions go to one server, each with a number that nobody can guess."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._waiting: dict[int, Heard] = {}
        self._sent = 0
        self.worn = False
        loop.watch(sock.fileno(), READ, self._readable)
        loop.later(_LIFETIME, self._wear)

    def send(self, message: bytes, heard: Heard) -> int:
        number = secrets.randbits(16)
        while number in self._waiting:
            number = secrets.randbits(16)
        try:
            self._sock.send(messages.with_ident(message, number))
        except OSError:  # what was sent before has come to nothing, too
            self.fail()
            raise
        self._waiting[number] = heard
        self._sent += 1
        self.worn = self.worn or self._sent >= _CROWD
        return number

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)
        if self.worn and not self._waiting:
            self.close()

    def close(self) -> None:
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        self._waiting.clear()
        self.worn = True

    def fail(self) -> None:
        """All who wait are told, and later ones get another socket."""
        self.worn = True
        for heard in list(self._waiting.values()):
            heard(None)
        self.close()

    def _wear(self) -> None:
        self.worn = True
        if not self._waiting:
            self.close()

    def _readable(self, events: int) -> None:
        for _ in range(_BURST):
            try:
                answer = self._sock.recv(messages.LARGEST)
            except BlockingIOError:
                return
            except OSError:  # refused, no way
                self.fail()
                return
            number = int.from_bytes(answer[:2], "big")
            if heard_by := self._waiting.get(number):
                heard_by(answer)
            if self._sock.fileno() < 0:
                return


class _Stream:
    """A connection for one question (RFC 1035 section 4.2.2)."""

    def __init__(self, loop: Loop, sock: socket.socket, message: bytes, heard: Heard) -> None:
        self._loop = loop
        self._sock = sock
        self._heard = heard
        self._out = len(message).to_bytes(2, "big") + message
        self._in = b""
        loop.watch(sock.fileno(), WRITE, self._writable)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._sock.close()

    def _writable(self, events: int) -> None:
        try:
            self._out = self._out[self._sock.send(self._out) :]
        except BlockingIOError:
            return
        except OSError:
            self._over(None)
            return
        if not self._out:
            self._loop.watch(self._sock.fileno(), READ, self._readable)

    def _readable(self, events: int) -> None:
        try:
            data = self._sock.recv(messages.LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._in += data
        length = int.from_bytes(self._in[:2], "big")
        if not data:
            self._over(None)
        elif len(self._in) >= 2 + length and len(self._in) >= 2:
            self._over(self._in[2 : 2 + length])

    def _over(self, answer: bytes | None) -> None:
        self.close()
        if not self._heard(answer):
            self._heard(None)


def _place(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> tuple[str, int] | tuple[str, int, int, int]:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), _PORT
    scope = address.scope_id or ""
    index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    return str(address).partition("%")[0], _PORT, 0, index
