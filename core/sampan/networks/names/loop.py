"""One thread that waits for everything that name servers wait for: sockets, times, and orders from other threads."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

log = logging.getLogger(__name__)

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class _Timer(NamedTuple):
    due: float
    number: int
    work: Callable[[], object]


class Loop:
    """:meth:`post`, :meth:`start` and :meth:`close` may be called by anybody, the rest in the loop's thread only.

    What is called back must not wait; what it raises is logged, and the others are served on.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._posted: deque[Callable[[], object]] = deque()
        self._timers: list[_Timer] = []
        self._numbers = itertools.count()
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._closing = False

    def start(self) -> None:
        """Idempotent: nothing runs before the first container needs it."""
        with self._lock:
            if self._thread is None and not self._closing:
                self._poll = select.epoll()
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._poll.register(self._wake, READ)
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def close(self, patience: float = 5.0) -> None:
        """What was posted is done before."""
        with self._lock:
            self._closing = True
            thread = self._thread
        if thread is not None:
            os.eventfd_write(self._wake, 1)
            thread.join(patience)

    def post(self, work: Callable[[], object]) -> None:
        """Have ``work`` done in the loop's thread, soon."""
        self._posted.append(work)
        os.eventfd_write(self._wake, 1)

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        heapq.heappush(self._timers, _Timer(time.monotonic() + seconds, next(self._numbers), work))

    def watch(self, fd: int, events: int, handler: Callable[[int], object]) -> None:
        """Call ``handler(events)`` while there are any; may be called again with other ones."""
        known = fd in self._handlers
        self._handlers[fd] = handler
        (self._poll.modify if known else self._poll.register)(fd, events)

    def forget(self, fd: int) -> None:
        """Before the descriptor is closed. Idempotent."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _run(self) -> None:
        while True:
            for fd, events in self._poll.poll(self._patience()):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                elif handler := self._handlers.get(fd):  # one before it may have let go of it
                    self._do(handler, events)
            while self._posted:
                self._do(self._posted.popleft())
            now = time.monotonic()
            while self._timers and self._timers[0].due <= now:
                self._do(heapq.heappop(self._timers).work)
            if self._closing:
                break
        self._poll.close()
        os.close(self._wake)

    def _patience(self) -> float:
        return max(0.0, self._timers[0].due - time.monotonic()) if self._timers else -1

    def _do(self, work: Callable[..., object], *args: int) -> None:
        try:
            work(*args)
        except Exception:
            log.exception("%s: one of many went wrong", self._name)
