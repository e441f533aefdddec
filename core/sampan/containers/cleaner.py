"""Slow work that nobody should wait for: a few background threads.

What is left undone by a crash is found again at the next start, because it belongs to nothing in the database.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable

from sampan.errors import SampanError

log = logging.getLogger(__name__)

WORKERS = 4  # so that one monitor whose client is slow does not hold up the others


class Cleaner:
    """Thread-safe. Jobs begin in the order in which they came. One that fails is logged and stops no other.

    Each ``lane`` has workers of its own: what may hang, with somebody else's driver, holds up nothing but its like.
    """

    def __init__(self, workers: int = WORKERS) -> None:
        self._lanes: dict[str, queue.SimpleQueue[tuple[int, Callable[[], object]]]] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._open: set[int] = set()
        self._most = workers
        self._workers: Counter[str] = Counter()

    def later(self, job: Callable[[], object], lane: str = "") -> None:
        with self._changed:
            number = next(self._numbers)
            self._open.add(number)
            jobs = self._lanes.setdefault(lane, queue.SimpleQueue())
            if self._workers[lane] < min(self._most, len(self._open)):
                self._workers[lane] += 1
                threading.Thread(target=self._work, args=[jobs], name="cleaner", daemon=True).start()
        jobs.put((number, job))

    def settle(self, timeout: float) -> bool:
        """Wait until all that was asked for until now is done; False if it takes longer than ``timeout`` seconds."""
        with self._changed:
            waited = set(self._open)
            return self._changed.wait_for(lambda: not waited & self._open, timeout)

    def _work(self, jobs: queue.SimpleQueue[tuple[int, Callable[[], object]]]) -> None:
        while True:
            number, job = jobs.get()
            try:
                job()
            except Exception as error:
                _tell(error)
            with self._changed:
                self._open.discard(number)
                self._changed.notify_all()


def _tell(error: Exception) -> None:
    """What is a sentence is told as one; where nobody expected it, one wants to know how it came to it."""
    failures = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    if all(isinstance(each, SampanError) for each in failures):
        log.error("cleaning up failed: %s", "; ".join(map(str, failures)))
    else:
        log.error("cleaning up failed", exc_info=error)
