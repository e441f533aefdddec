"""The threads in which the services are called, so that the event loop never waits for them.

concurrent.futures' own pool joins its threads when the process ends, however long they take; a daemon that is told to
stop must not wait for somebody's ``stop --time 3600``. These threads are let go of: what they do survives a crash,
and so it survives this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Work = tuple["Future[Any]", Callable[[], Any]]


class Workers(Executor):
    """At most ``limit`` calls at once; further ones wait their turn."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._pending = 0
        self._settled = threading.Condition(self._lock)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            self._pending += 1
            if self._pending > self._threads and self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"api-{self._threads}", daemon=True).start()
        self._queue.put((future, lambda: fn(*args, **kwargs)))
        return future

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is being done, at most so long; returns whether that is so."""
        with self._settled:
            return self._settled.wait_for(lambda: not self._pending, seconds)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end when the queue is empty. ``wait`` is not honoured: see :meth:`settle`."""
        with self._lock:
            for _ in range(self._threads):
                self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            _fulfil(*work)
            del work  # hold nothing of the last call while waiting for the next one
            with self._settled:
                self._pending -= 1
                self._settled.notify_all()


def _fulfil(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
