"""Containers in which the kernel kills for want of memory: the event ``oom`` at once, ``OOMKilled`` as Docker has it.

That is true from the first such kill in a container on, be it the init's or another process's, until the next start.
The clock's thread waits for them all, on descriptors of the runtime driver: nothing is done while nothing happens.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.errors import SampanError

_SOON = 0.02  # seconds after a start
_AFTER = (0.01, 0.1, 1.0)  # seconds: the kernel tells before it kills


class _Watch:
    """One run of a container. ``looks`` are the times after news at which it is still to be looked at."""

    def __init__(self, entry: Entry, fd: int) -> None:
        self.entry = entry
        self.pid = entry.record.state.pid
        self.fd = fd
        self.looks: list[float] = []


class Starvation:
    """Thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._watches: dict[str, _Watch] = {}
        self._told: dict[str, int] = {}  # kills in this run

    def begin(self, entry: Entry) -> None:
        """It runs; off the path of the start, and of what is over soon, which nobody shall wait longer for."""
        pid = entry.record.state.pid
        self._parts.clock.later(_SOON, lambda: self._parts.cleaner.later(lambda: self._watch(entry, pid)))

    def end(self, entry: Entry) -> None:
        """Its run is over."""
        with self._lock:
            watch = self._watches.pop(entry.record.id, None)
            self._told.pop(entry.record.id, None)
        if watch:
            self._parts.clock.unwatch(watch.fd)
            os.close(watch.fd)

    def _watch(self, entry: Entry, pid: int) -> None:
        record = entry.record
        with suppress(SampanError, OSError), entry.lock:  # it has ended
            if record.state.pid != pid or record.state.status not in ALIVE:
                return
            fd = self._parts.runtime(record).starvation(record.id)
            if fd is None:
                return
            watch = _Watch(entry, fd)
            with self._lock:
                self._watches[record.id] = watch
            self._parts.clock.watch(fd, lambda: self._news(watch))
            self._look(watch)  # perhaps it came too late

    def _news(self, watch: _Watch) -> None:
        with self._lock:
            if self._watches.get(watch.entry.record.id) is not watch:
                return
            with suppress(BlockingIOError):
                os.read(watch.fd, 4096)
            idle = not watch.looks
            watch.looks = list(_AFTER)
        if idle:
            self._wait(watch)

    def _wait(self, watch: _Watch) -> None:
        self._parts.clock.later(watch.looks[0], lambda: self._parts.cleaner.later(lambda: self._next(watch)))

    def _next(self, watch: _Watch) -> None:
        self._look(watch)
        with self._lock:
            watch.looks = watch.looks[1:]
            if not watch.looks:
                return
        self._wait(watch)

    def _look(self, watch: _Watch) -> None:
        """Have there been kills that nobody was told of?"""
        record = watch.entry.record
        with suppress(SampanError, OSError), watch.entry.lock:
            if record.state.pid != watch.pid or record.state.status not in ALIVE:
                return  # its exit tells
            kills = self._parts.runtime(record).stats(record.id).oom_kills
            known = self._told.setdefault(record.id, kills if record.state.oom_killed else 0)
            if kills <= known:
                return
            self._told[record.id] = kills
            self._parts.announce(record, "oom")
            if not record.state.oom_killed:
                record.state.oom_killed = True
                self._parts.save(record)
