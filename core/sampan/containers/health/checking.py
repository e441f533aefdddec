"""Carrying out health checks: each is an exec in its container, begun and timed by the one clock.

Nothing runs between two checks, and nothing at all where no container has one. Paused containers are not checked.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sampan.containers.clock import Appointment
from sampan.containers.execs import Execs
from sampan.containers.health import healthcheck
from sampan.containers.health.healthcheck import Check
from sampan.containers.health.probe import Probe
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.errors import SampanError
from sampan.types import HealthResult, Status

log = logging.getLogger(__name__)

_THREADS = 4


class _Watch:
    """The checks of one run of a container. ``turn`` changes whenever a check under way does not count any more."""

    def __init__(self, entry: Entry, check: Check) -> None:
        self.entry = entry
        self.check = check
        self.turn = 0
        self.next: Appointment | None = None


class Healths:
    """Thread-safe. ``unhealthy`` is called, in a thread of its own, for containers to be restarted."""

    def __init__(self, parts: Parts, execs: Execs, unhealthy: Callable[[Entry], None]) -> None:
        self._parts = parts
        self._execs = execs
        self._unhealthy = unhealthy
        self._watches: dict[str, _Watch] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="health")

    def close(self) -> None:
        """Checks under way are left alone."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def begin(self, entry: Entry, *, anew: bool = True) -> None:
        """A container runs; ``anew``: it has just been started. Call with the entry's lock held."""
        state = entry.record.state
        check = healthcheck.of(entry.record)
        if check is None:
            state.health = None
            return
        if anew or state.health is None:
            healthcheck.begun(entry.record)
        watch = self._watches[entry.record.id] = _Watch(entry, check)
        if state.status is not Status.PAUSED:
            self._schedule(watch)

    def end(self, entry: Entry) -> None:
        """It has ended: it counts as unhealthy from then on, as in Docker. Call with the entry's lock held."""
        watch = self._watches.pop(entry.record.id, None)
        if watch:
            self._interrupt(watch)
        if entry.record.state.health:
            entry.record.state.health.status = "unhealthy"

    def pause(self, entry: Entry) -> None:
        """No checks for a while; one that is under way does not count. Call with the entry's lock held."""
        if watch := self._watches.get(entry.record.id):
            self._interrupt(watch)

    def resume(self, entry: Entry) -> None:
        """Call with the entry's lock held."""
        if watch := self._watches.get(entry.record.id):
            self._interrupt(watch)
            self._schedule(watch)

    @staticmethod
    def _interrupt(watch: _Watch) -> None:
        watch.turn += 1
        if watch.next:
            watch.next.cancel()

    def _schedule(self, watch: _Watch) -> None:
        seconds = healthcheck.pause(watch.check, watch.entry.record, time.time_ns())
        turn = watch.turn
        watch.next = self._parts.clock.later(seconds, lambda: self._submit(self._probe, watch, turn))

    def _submit(self, work: Callable[..., object], *args: object) -> None:
        def run() -> None:
            try:
                work(*args)
            except Exception:
                log.exception("a health check failed in the engine")

        with contextlib.suppress(RuntimeError):  # shutting down
            self._threads.submit(run)

    def _probe(self, watch: _Watch, turn: int) -> None:
        if turn != watch.turn:
            return

        def told(result: HealthResult | None) -> None:
            self._submit(self._judge, watch, turn, result)

        Probe(self._parts, self._execs, watch.entry, watch.check, told).run()

    def _judge(self, watch: _Watch, turn: int, result: HealthResult | None) -> None:
        entry, record = watch.entry, watch.entry.record
        with entry.lock:
            if turn != watch.turn:
                return
            if result and healthcheck.judge(watch.check, record, result):
                assert record.state.health
                self._save(entry)
                self._parts.announce(record, f"health_status: {record.state.health.status}")
            self._schedule(watch)
            health = record.state.health
            restart = health is not None and health.status == "unhealthy" and healthcheck.restarts(record)
        if result and restart:
            threading.Thread(target=self._unhealthy, args=[entry], name="unhealthy", daemon=True).start()

    def _save(self, entry: Entry) -> None:
        try:
            self._parts.save(entry.record)
        except SampanError as error:
            log.error("the health of container %s could not be written down: %s", entry.record.name, error)
