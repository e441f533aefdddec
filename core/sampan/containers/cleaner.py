"""Slow work that nobody should wait for: a few background threads.

What is left undone by a crash is found again at the next start, because it belongs to nothing in the database.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

WORKERS = 4  # so that one monitor whose client is slow does not hold up the others


class Cleaner:
    """Thread-safe. Jobs begin in the order in which they came. One that fails is logged and stops no other."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, Callable[[], object]]] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._open: set[int] = set()
        self._most = workers
        self._workers = 0

    def later(self, job: Callable[[], object]) -> None:
        with self._changed:
            number = next(self._numbers)
            self._open.add(number)
            if self._workers < min(self._most, len(self._open)):
                self._workers += 1
                threading.Thread(target=self._work, name="cleaner", daemon=True).start()
        self._jobs.put((number, job))

    def settle(self, timeout: float) -> bool:
        """Wait until all that was asked for until now is done; False if it takes longer than ``timeout`` seconds."""
        with self._changed:
            waited = set(self._open)
            return self._changed.wait_for(lambda: not waited & self._open, timeout)

    def _work(self) -> None:
        while True:
            number, job = self._jobs.get()
            try:
                job()
            except Exception:
                log.exception("cleaning up failed")
            with self._changed:
                self._open.discard(number)
                self._changed.notify_all()
