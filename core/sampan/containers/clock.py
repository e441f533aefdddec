"""One thread for all that is to happen later, or when a socket has something to say.

It sleeps until the next appointment; where there is none and nothing is watched, it sleeps for good. What it calls
must be quick: whoever has more to do hands it to a thread of their own.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

Call = Callable[[], object]


class Appointment:
    """What :meth:`Clock.later` gives."""

    def __init__(self, clock: Clock, at: float, call: Call) -> None:
        self._clock = clock
        self.at = at
        self.call = call

    def cancel(self) -> None:
        """It will not happen, unless it is just happening. May be called again."""
        self._clock._forget(self)


class Clock:
    """Thread-safe. The thread is started with the first appointment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int, Appointment]] = []
        self._watched: dict[int, Call] = {}
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread: threading.Thread | None = None
        self._closed = False

    def later(self, seconds: float, call: Call) -> Appointment:
        """Call ``call`` so many seconds from now."""
        made = Appointment(self, time.monotonic() + seconds, call)
        with self._lock:
            if not self._closed:
                heapq.heappush(self._heap, (made.at, next(self._numbers), made))
                self._run()
                if self._heap[0][2] is made:
                    os.eventfd_write(self._wake, 1)
        return made

    def watch(self, fd: int, call: Call) -> None:
        """Call ``call`` whenever ``fd`` can be read, until :meth:`unwatch`."""
        with self._lock:
            if not self._closed:
                self._watched[fd] = call
                self._poll.register(fd, select.EPOLLIN)
                self._run()

    def unwatch(self, fd: int) -> None:
        """Before ``fd`` is closed."""
        with self._lock:
            if self._watched.pop(fd, None) and not self._closed:
                self._poll.unregister(fd)

    def close(self) -> None:
        """Nothing happens any more. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._heap.clear()
            self._watched.clear()
            thread = self._thread
            os.eventfd_write(self._wake, 1)
        if thread and thread is not threading.current_thread():
            thread.join()
        self._poll.close()
        os.close(self._wake)

    def _forget(self, appointment: Appointment) -> None:
        with self._lock:
            left = [each for each in self._heap if each[2] is not appointment]
            if len(left) < len(self._heap):
                self._heap = left
                heapq.heapify(self._heap)

    def _run(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="clock", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._closed:
            for fd, _ in self._poll.poll(self._patience()):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                with self._lock:
                    call = self._watched.get(fd)
                if call:
                    _do(call)
            for appointment in self._due():
                _do(appointment.call)

    def _patience(self) -> float | None:
        """Seconds until the next appointment."""
        with self._lock:
            return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def _due(self) -> list[Appointment]:
        now, due = time.monotonic(), []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
        return due


def _do(call: Call) -> None:
    try:
        call()
    except Exception:
        log.exception("an appointment could not be kept")
