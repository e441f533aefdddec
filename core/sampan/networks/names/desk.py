"""The name server of one container. Everything here happens in the loop's thread.

All containers are served by the same thread: one that asks without pause gets its turn, and no more. A few datagrams
are taken at a time, and only so many in a second.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from sampan.networks.names import answers, messages
from sampan.networks.names.conversation import Conversation
from sampan.networks.names.directory import Directory
from sampan.networks.names.loop import READ, Loop
from sampan.networks.names.messages import AAAA, LARGEST, SERVFAIL, A, Malformed, Query
from sampan.networks.names.sandboxed import Sockets
from sampan.networks.names.upstream import Server, Upstream

RATE = 4000
"""Questions a second that one container may go on asking; as many may come at once."""

_BATCH = 16  # datagrams, then it is the next one's turn
_CONVERSATIONS = 64
_PAUSE = 0.05  # seconds for one that has asked too much

Reply = Callable[[bytes], object]
Policy = Callable[[], "tuple[Sequence[Server], bool]"]
"""Whom to ask what is not known here, and whether single names are left alone (``ndots``)."""


class Desk:
    """``policy`` is asked at each question that must be passed on."""

    def __init__(self, loop: Loop, directory: Directory, container: str, sockets: Sockets, policy: Policy) -> None:
        self._loop = loop
        self._directory = directory
        self._container = container
        self._sockets = sockets
        self._policy = policy
        self._upstream = Upstream(loop, sockets.namespace)
        self._conversations: dict[Conversation, None] = {}  # in the order in which they came
        self._budget, self._counted = float(RATE), time.monotonic()
        self._closed = False

    def open(self) -> None:
        self._loop.watch(self._sockets.udp.fileno(), READ, self._datagrams)
        self._loop.watch(self._sockets.tcp.fileno(), READ, self._connections)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for sock in (self._sockets.udp, self._sockets.tcp):
            self._loop.forget(sock.fileno())
        for conversation in list(self._conversations):
            conversation.close()
        self._upstream.close()
        self._sockets.close()

    def _datagrams(self, events: int) -> None:
        if not self._may_ask():
            self._rest()
            return
        for _ in range(_BATCH):
            try:
                message, asker = self._sockets.udp.recvfrom(LARGEST)
            except BlockingIOError:
                return
            except OSError:  # an answer that could not be delivered, told now
                continue
            self._budget -= 1
            self._asked(message, functools.partial(self._send, asker), stream=False)

    def _connections(self, events: int) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._sockets.tcp.accept()
            if len(self._conversations) >= _CONVERSATIONS:  # whoever came first has had the most time
                next(iter(self._conversations)).close()
            one = Conversation(self._loop, sock, self._asked_by_stream, self._forget, self._may_ask)
            self._conversations[one] = None

    def _forget(self, conversation: Conversation) -> None:
        self._conversations.pop(conversation, None)

    def _may_ask(self) -> bool:
        now = time.monotonic()
        self._budget = min(RATE, self._budget + (now - self._counted) * RATE)
        self._counted = now
        return self._budget >= 1

    def _rest(self) -> None:
        self._loop.forget(self._sockets.udp.fileno())
        self._loop.later(_PAUSE, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.watch(self._sockets.udp.fileno(), READ, self._datagrams)

    def _send(self, asker: Any, answer: bytes) -> None:
        if answer and not self._closed:
            with contextlib.suppress(OSError):
                self._sockets.udp.sendto(answer, socket.MSG_DONTWAIT, asker)

    def _asked_by_stream(self, message: bytes, reply: Reply) -> None:
        self._budget -= 1
        self._asked(message, reply, stream=True)

    def _asked(self, message: bytes, reply: Reply, *, stream: bool) -> None:
        try:
            query = messages.parse(message)
        except Malformed as error:
            reply(error.answer)
            return
        if query is None:
            reply(b"")
            return
        records = answers.of(self._directory, self._container, query)
        if records is not None:
            limit = LARGEST if stream else query.size
            reply(messages.answer(query, records, limit=limit, ttl=answers.TTL))
            return
        self._pass_on(message, query, reply, stream=stream)

    def _pass_on(self, message: bytes, query: Query, reply: Reply, *, stream: bool) -> None:
        servers, dots = self._policy()
        if dots and query.kind in (A, AAAA) and "." not in query.name:
            reply(messages.answer(query))  # the asker goes on with its search domains
            return

        def done(answer: bytes | None) -> None:
            reply(answer or messages.answer(query, code=SERVFAIL))

        self._upstream.ask(message, query, servers, done, stream=stream)
