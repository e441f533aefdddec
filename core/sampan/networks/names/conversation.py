"""One asker who has come by TCP: questions and answers, each with its length before it (RFC 1035 section 4.2.2)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from sampan.networks.names.loop import READ, WRITE, Loop

IDLE = 10.0
"""Seconds that an asker may stay without saying anything."""

_QUESTIONS = 16  # that may wait for their answers, and are taken before it is somebody else's turn
_PAUSE = 0.05  # seconds for an asker who has asked too much
_ROOM = 1 << 18  # bytes of answers that an asker leaves unread, before it is left alone
_CHUNK = 1 << 16

Reply = Callable[[bytes], object]


class Conversation:
    """``asked(message, reply)`` is called with each question, if ``may_ask`` says so; ``over`` at the end."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        asked: Callable[[bytes, Reply], object],
        over: Callable[[Conversation], object],
        may_ask: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._asked = asked
        self._over = over
        self._may_ask = may_ask
        self._in = b""
        self._out = b""
        self._waiting = 0
        self._last = time.monotonic()
        self._events = 0
        self._resting = False
        sock.setblocking(False)
        self._listen()
        loop.later(IDLE, self._look)

    def close(self) -> None:
        """Idempotent."""
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._over(self)

    def _happens(self, events: int) -> None:
        try:
            if events & WRITE:
                self._write()
            if events & ~WRITE:
                self._read()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._sock.recv(_CHUNK)
        if not data:
            self.close()
            return
        self._last = time.monotonic()
        self._in += data
        self._take()

    def _take(self) -> None:
        """Hand on what is complete, as long as not too much of it waits."""
        for _ in range(_QUESTIONS):
            end = 2 + int.from_bytes(self._in[:2], "big")
            if self._waiting >= _QUESTIONS or len(self._in) < max(2, end):
                break
            if not self._may_ask():
                self._pause(_PAUSE)
                return
            message, self._in = self._in[2:end], self._in[end:]
            self._waiting += 1
            self._asked(message, self._reply)
            if self._sock.fileno() < 0:
                return
        else:
            self._pause(0)
            return
        self._listen()

    def _pause(self, seconds: float) -> None:
        self._resting = True
        self._listen()
        self._loop.later(seconds, self._go_on)

    def _reply(self, answer: bytes) -> None:
        """``b""`` for a question that gets none."""
        self._waiting -= 1
        if self._sock.fileno() < 0:
            return
        if answer:
            self._out += len(answer).to_bytes(2, "big") + answer
        try:
            self._write()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if len(self._out) > _ROOM:
            self.close()
        elif not self._resting:
            self._pause(0)

    def _go_on(self) -> None:
        self._resting = False
        if self._sock.fileno() >= 0:
            self._take()

    def _write(self) -> None:
        if self._out:
            self._last = time.monotonic()
            self._out = self._out[self._sock.send(self._out) :]

    def _listen(self) -> None:
        events = (0 if self._resting or self._waiting >= _QUESTIONS else READ) | (WRITE if self._out else 0)
        if events != self._events:
            self._events = events
            self._loop.watch(self._sock.fileno(), events, self._happens)

    def _look(self) -> None:
        if self._sock.fileno() < 0:
            return
        if time.monotonic() - self._last >= IDLE and not self._waiting:
            self.close()
        else:
            self._loop.later(IDLE, self._look)
