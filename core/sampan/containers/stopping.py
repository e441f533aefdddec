"""Signals, and what ends a container on request: kill, stop; and pause, which must not stand in their way."""

from __future__ import annotations

import signal as signals_of_host

from sampan.containers import signals
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.containers.transitions import ALIVE, move
from sampan.errors import Conflict, NotFound, NotModified, Unavailable, Unsupported
from sampan.types import Container, ExitCause, Status

DEFAULT_TIMEOUT = 10  # seconds between the stop signal and SIGKILL
PATIENCE = 15.0  # seconds for the news of an end after SIGKILL
SIGKILL = int(signals_of_host.SIGKILL)


class Stopper:
    """Holds an entry's lock only while it acts, never while it waits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def kill(self, entry: Entry, signal: str) -> None:
        """Send a signal; after SIGKILL, wait for the end. ``Conflict`` if nothing runs."""
        number = signals.parse(signal)
        with entry.lock:
            self._need_running(entry)
            stops = number in (SIGKILL, stop_signal(entry.record))
            self._send(entry, number, asked=stops)
        if number == SIGKILL:
            self._await_end(entry)

    def stop(self, entry: Entry, timeout: int | None, signal: str | None) -> None:
        """Send the stop signal, then SIGKILL after ``timeout`` seconds (-1: never). ``NotModified`` if nothing runs."""
        number = signals.parse(signal) if signal else stop_signal(entry.record)
        if timeout is None:
            timeout = entry.record.config.get("StopTimeout")
        timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        with entry.lock:
            if entry.record.state.status is Status.RESTARTING:
                self._give_up_restart(entry)
                return
            if entry.record.state.status not in ALIVE:
                raise NotModified(f"container {entry.record.id} is already stopped")
            self._send(entry, number, asked=True)
        if not entry.ended.wait(None if timeout < 0 else timeout):
            with entry.lock:
                if entry.record.state.status in ALIVE:
                    self._send(entry, SIGKILL, asked=True)
            self._await_end(entry)
        self._parts.announce(entry.record, "stop")

    def end(self, entry: Entry) -> None:
        """Make sure that nothing runs, at once."""
        with entry.lock:
            if entry.record.state.status is Status.RESTARTING:
                self._give_up_restart(entry)
            if entry.record.state.status not in ALIVE:
                return
            self._send(entry, SIGKILL, asked=True)
        self._await_end(entry)

    def pause(self, entry: Entry) -> None:
        with entry.lock:
            record = entry.record
            if record.state.status is Status.PAUSED:
                raise Conflict(f"container {record.id} is already paused")
            self._need_running(entry, "")
            features = self._parts.runtime(record).features()
            if not features.pause:
                why = features.why.get("pause", "it has no such feature")
                raise Unsupported(f"the runtime {record.runtime} cannot pause: {why}")
            self._parts.runtime(record).pause(record.id)
            move(record.state, Status.PAUSED)
            self._parts.save(record)
            self._parts.announce(record, "pause")

    def unpause(self, entry: Entry) -> None:
        with entry.lock:
            if entry.record.state.status is not Status.PAUSED:
                raise Conflict(f"Container {entry.record.id} is not paused")
            self._resume(entry)

    def _resume(self, entry: Entry) -> None:
        self._parts.runtime(entry.record).resume(entry.record.id)
        move(entry.record.state, Status.RUNNING)
        self._parts.save(entry.record)
        self._parts.announce(entry.record, "unpause")

    def _need_running(self, entry: Entry, what: str = "cannot kill container: {name}: ") -> None:
        record = entry.record
        if record.state.status is Status.RESTARTING:
            raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
        if record.state.status not in ALIVE:
            raise Conflict(f"{what.format(name=record.name)}container {record.id} is not running")

    def _send(self, entry: Entry, number: int, *, asked: bool) -> None:
        """``asked``: this is meant to end it. A paused container cannot take a signal, so it is thawed for that."""
        record = entry.record
        if asked:
            entry.cause = ExitCause.ASKED
            record.state.stopped_by_user = True
            if record.host_config["RestartPolicy"]["Name"] == "unless-stopped":  # the next daemon must know, too
                self._parts.save(record)
        try:
            self._parts.runtime(record).signal(record.id, record.state.pid, number)
        except NotFound:
            return  # it has just ended by itself
        finally:
            self._parts.announce(record, "kill", signal=str(number))
        if asked and record.state.status is Status.PAUSED:
            self._resume(entry)

    def _await_end(self, entry: Entry) -> None:
        if entry.ended.wait(PATIENCE):
            return
        self._parts.runtime(entry.record).remove(entry.record.id)
        if not entry.ended.wait(PATIENCE):
            raise Unavailable(f"container {entry.record.name} was killed, but its end was not reported")

    def _give_up_restart(self, entry: Entry) -> None:
        if entry.timer:
            entry.timer.cancel()
            entry.timer = None
        entry.record.state.stopped_by_user = True
        move(entry.record.state, Status.EXITED)
        self._parts.save(entry.record)
        entry.tell("not-running", "next-exit")


def stop_signal(record: Container) -> int:
    return signals.parse(record.config.get("StopSignal") or "SIGTERM")
