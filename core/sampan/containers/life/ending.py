"""What happens when a container's process has ended, and how a container goes away for good.

Those who wait are told as soon as the record is durable; everything slow (waiting for the monitor, removing the
writable root) is the cleaner's, so that ``run --rm`` does not wait for it.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from sampan.containers import sharing, timestamps
from sampan.containers.cleaner import Cleaner
from sampan.containers.life import keeping, restart
from sampan.containers.life.creation import drop, forget
from sampan.containers.life.transitions import ALIVE, move
from sampan.containers.monitors import Exit
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.errors import Conflict, SampanError
from sampan.types import Container, ExitCause, State, Status
from sampan.undo import teardown

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds for the end of a run to be cleaned up before its root is removed all the same


SIGNALLED = 128  # plus the signal's number: the exit code of who died of it


def ended(entry: Entry, exit_: Exit) -> None:
    """Write an exit into the state, all but the status."""
    state = entry.record.state
    state.cause, state.cause_detail = _cause(entry, exit_)
    state.ending = ""
    state.pid, state.monitor = 0, 0
    state.exit_code = exit_.code
    state.oom_killed = state.oom_killed or exit_.oom
    state.finished_at = timestamps.text(exit_.at)


def _cause(entry: Entry, exit_: Exit) -> tuple[ExitCause, str]:
    if exit_.lost:
        return ExitCause.LOST, "its monitor or the machine ended before it"
    if entry.cause:
        return entry.cause, entry.detail
    if entry.record.state.ending:  # an earlier daemon was about it
        return ExitCause.HEALTH, entry.record.state.ending
    if exit_.oom and exit_.code == SIGNALLED + signal.SIGKILL:  # else it was only a process of the init's
        return ExitCause.OUT_OF_MEMORY, ""
    sent = entry.sent.get(exit_.code - SIGNALLED)
    return (ExitCause.ASKED, sent) if sent else (ExitCause.OWN, "")


def ran(state: State) -> float:
    """Seconds that the last run took."""
    if not state.started_at or not state.finished_at:
        return 0.0
    return (timestamps.nanoseconds(state.finished_at) - timestamps.nanoseconds(state.started_at)) / 1e9


def tell_death(parts: Parts, record: Container) -> None:
    """The event of an end that is in the state."""
    seconds = str(int(ran(record.state)))
    parts.announce(record, "die", exitCode=str(record.state.exit_code), execDuration=seconds)


class Endings:
    """``again`` starts a container by its policy, ``over`` hears of each end; called with the entry's lock held."""

    def __init__(self, parts: Parts, again: Callable[[Entry], None], over: Callable[[Entry], None]) -> None:
        self._parts = parts
        self._again = again
        self._over = over
        self._collector = Cleaner(1)  # images wait for the cleaner, so the cleaner must not wait for images
        self._pending: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._restarts = ThreadPoolExecutor(8, thread_name_prefix="restart")  # these wait for the cleaner, too
        self._closing = False

    def close(self) -> None:
        self._closing = True
        self._restarts.shutdown(wait=False, cancel_futures=True)
        for entry in self._parts.registry:
            if entry.timer:
                entry.timer.cancel()

    def exited(self, entry: Entry, exit_: Exit) -> None:
        """The monitor has reported the end of the init."""
        with entry.lock:
            record = entry.record
            if record.state.status not in ALIVE:
                return  # a start that was undone
            if exit_.lost:
                self._remove_what_runs(record)
            self._leave(record)
            told = record.state.oom_killed
            # Only now, or who looks meanwhile would see a running container without a process.
            ended(entry, exit_)
            self._over(entry)
            if exit_.oom and not told:
                self._parts.announce(record, "oom")
            again = not entry.kept and restart.wanted(record)
            if record.host_config["AutoRemove"] and not entry.kept:
                move(record.state, Status.REMOVING)
            else:
                move(record.state, Status.RESTARTING if again else Status.EXITED)
                record.restart_count += again
            self._settle(entry)
            if again:
                self._schedule(entry)

    def _settle(self, entry: Entry) -> None:
        """Make the end durable, tell it, and leave the rest to the cleaner."""
        record = entry.record
        removed = record.state.status is Status.REMOVING
        record.spec = {}
        self._keep(entry, removed=removed)
        tell_death(self._parts, record)
        self.clean_run(entry)
        if removed:
            self._parts.announce(record, "destroy")
            self.clean_all(entry)
        entry.ended.set()
        entry.tell("not-running", "next-exit")
        if removed:
            entry.tell("removed")

    def _keep(self, entry: Entry, *, removed: bool) -> None:
        """Where the record cannot be written (no space, say), the end is told all the same: it has happened."""
        try:
            entry.unsaved = False
            if removed:
                forget(self._parts, entry, volumes=True)
            else:
                self._parts.save(entry.record)
        except SampanError as error:
            log.error("the end of container %s could not be written down: %s", entry.record.name, error)
            entry.unsaved = True
            if removed:  # the next daemon forgets it, as it does with all such that do not run
                drop(self._parts, entry)

    def remove(self, entry: Entry, *, volumes: bool) -> None:
        """Remove a container that has no process, and its anonymous ``volumes``. Call with the entry's lock held."""
        record = entry.record
        if entry.gone:
            return
        if record.state.status in ALIVE:
            raise Conflict(f"container {record.id} is running")
        if entry.timer:
            entry.timer.cancel()
        before = record.state.status
        if before is not Status.REMOVING:
            move(record.state, Status.REMOVING)
        try:
            forget(self._parts, entry, volumes=volumes)
        except SampanError:
            record.state.status = before
            raise
        for _, stream in entry.streams:
            stream.theirs.close()
        entry.streams.clear()
        self._parts.announce(record, "destroy")
        self.clean_all(entry)
        entry.tell("not-running", "next-exit", "removed")

    def _remove_what_runs(self, record: Container) -> None:
        """Its monitor died, so it dies too, but nobody watches it."""
        try:
            self._parts.runtime(record).remove(record.id)
        except (SampanError, OSError) as error:
            log.error("what container %s ran could not be removed: %s", record.name, error)

    def _leave(self, record: Container) -> None:
        try:
            if not record.host_config["NetworkMode"].startswith("container:"):
                self._parts.networks.detach(record)
        except Exception:
            log.exception("container %s could not leave its networks", record.name)

    def clean_run(self, entry: Entry) -> None:
        """What one run leaves: its monitor, its kernel objects, its bundle."""
        parts, record = self._parts, entry.record

        def clean() -> None:
            try:
                teardown(
                    lambda: parts.monitors.forget(record.id),
                    lambda: parts.runtime(record).remove(record.id),
                    lambda: parts.storage(record).unmount(record.root),
                    lambda: keeping.unmount(parts, record),
                    lambda: self._drop_bundle(entry),
                )
            finally:
                entry.settled.set()

        entry.settled.clear()
        parts.cleaner.later(clean, parts.lane(record))

    def _drop_bundle(self, entry: Entry) -> None:
        """Not before the end is durable: the monitor's word in there is what the next daemon would go by."""
        if entry.unsaved and not entry.gone:
            self._parts.save(entry.record)
        sharing.remove_bundle(self._parts.bundle(entry.record.id))

    def clean_all(self, entry: Entry) -> None:
        """What a container leaves: its writable root, its log, an image that was kept for its sake."""
        parts, record = self._parts, entry.record
        with self._lock:
            self._pending[record.image] += 1

        def clean() -> None:
            try:
                entry.settled.wait(PATIENCE)
                teardown(
                    *(partial(parts.storage(record).remove, root) for root in (record.root, *entry.left)),
                    lambda: parts.explanations.forget(record.id),
                    lambda: shutil.rmtree(parts.directory(record.id), ignore_errors=True),
                    parts.volumes.sweep,
                )
            finally:
                with self._lock:
                    self._pending[record.image] -= 1
            self._collector.later(parts.images.collect)

        parts.cleaner.later(clean, parts.lane(record))

    def settle(self, image: str, timeout: float) -> None:
        """Wait until no writable root of a removed container stands on ``image``."""
        if self._pending[image]:
            self._parts.cleaner.settle(timeout)

    def _schedule(self, entry: Entry) -> None:
        entry.delay = restart.delay(entry.delay, entry.record)
        entry.timer = self._parts.clock.later(entry.delay, lambda: self._hand_over(entry))

    def _hand_over(self, entry: Entry) -> None:
        with suppress(RuntimeError):  # shutting down: the next daemon starts it
            self._restarts.submit(self._run_again, entry)

    def _run_again(self, entry: Entry) -> None:
        try:
            self._run_waiting(entry)
        except Exception:
            log.exception("container %s could not be restarted", entry.record.name)

    def _run_waiting(self, entry: Entry) -> None:
        with entry.lock:
            entry.timer = None
            if entry.record.state.status is not Status.RESTARTING or entry.gone or self._closing:
                return
            self.start_again(entry)

    def start_again(self, entry: Entry) -> None:
        """By policy; nobody waits for the answer. Call with the entry's lock held."""
        try:
            self._again(entry)
        except (SampanError, OSError) as error:
            log.warning("container %s could not be restarted: %s", entry.record.name, error)
            entry.tell("not-running", "next-exit")
