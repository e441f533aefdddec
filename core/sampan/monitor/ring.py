"""A log that the container never waits for (``mode=non-blocking``): written by a thread, cut if the disk is slow."""

from __future__ import annotations

import _thread
from _queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.monitor.log import Log

_PATIENCE = 10.0  # seconds that the end may take


class Ring:
    """At most ``limit`` bytes wait to be written to ``log``; what comes when it is full is lost, as Docker's is."""

    def __init__(self, log: Log, limit: int) -> None:
        self._log = log
        self._limit = limit
        self._waiting = 0
        self._lock = _thread.allocate_lock()
        self._queue: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._over = _thread.allocate_lock()
        self._over.acquire()
        _thread.start_new_thread(self._work, ())

    def write(self, stream: int, data: bytes) -> None:
        with self._lock:
            if self._waiting and self._waiting + len(data) > self._limit:
                return
            self._waiting += len(data)
        self._queue.put((stream, data))

    def mark(self, fd: int) -> None:
        """As :meth:`Log.mark`, when all that was written until now is in the log."""
        self._queue.put((-fd, b""))

    def close(self) -> None:
        self._queue.put((0, b""))
        self._over.acquire(timeout=_PATIENCE)

    def _work(self) -> None:
        try:
            while (item := self._queue.get())[0]:
                if item[0] < 0:
                    self._log.mark(-item[0])
                    continue
                self._log.write(*item)
                with self._lock:
                    self._waiting -= len(item[1])
            self._log.close()
        finally:
            self._over.release()
