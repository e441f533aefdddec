"""Signals, and what ends a container on request: kill, stop; and pause, which must not stand in their way."""

from __future__ import annotations

import signal as signals_of_host
from contextlib import suppress

import msgspec

from sampan.containers import signals
from sampan.containers.life import beginnings, lastresort
from sampan.containers.life.transitions import ALIVE, move
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.errors import Conflict, Internal, NotFound, NotModified, SampanError, Unavailable, Unsupported
from sampan.types import Container, ExitCause, Status

DEFAULT_TIMEOUT = 10  # seconds between the stop signal and SIGKILL
PATIENCE = 15.0  # seconds for the news of an end after SIGKILL
SIGKILL = int(signals_of_host.SIGKILL)
_UNHEEDED = (SIGKILL, int(signals_of_host.SIGSTOP), int(signals_of_host.SIGCONT))


class Why(msgspec.Struct, frozen=True):
    """Why a container is to end: by what call, and whose, if that is known; or ``text`` for another cause."""

    call: str
    by: str = ""
    cause: ExitCause = ExitCause.ASKED
    text: str = ""

    def told(self, number: int) -> str:
        """With the signal that says so."""
        return self.text or f"{signals.name(number)} from {self.call}" + (f", asked by {self.by}" if self.by else "")


class Stopper:
    """Holds an entry's lock only while it acts, never while it waits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def kill(self, entry: Entry, signal: str, by: str = "") -> None:
        """Send a signal; after SIGKILL, wait for the end. ``Conflict`` if nothing runs.

        One that waits for its restart is not restarted, if the signal is one that ends containers.
        """
        number = signals.parse(signal)
        stops = number in (SIGKILL, stop_signal(entry.record))
        with entry.lock:
            if stops and entry.record.state.status is Status.RESTARTING:
                self._give_up_restart(entry)
                return
            self._need_running(entry)
            self._send(entry, number, Why("kill", by), ends=stops)
        if number == SIGKILL:
            self._await_end(entry)

    def stop(self, entry: Entry, timeout: int | None, signal: str | None, why: Why) -> None:
        """Send the stop signal, then SIGKILL after ``timeout`` seconds (-1: never). ``NotModified`` if nothing runs."""
        number = signals.parse(signal) if signal else stop_signal(entry.record)
        if timeout is None:
            timeout = entry.record.config.get("StopTimeout")
        timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        with entry.lock:
            if entry.record.state.status is Status.RESTARTING:
                self._give_up_restart(entry)
                self._parts.announce(entry.record, "stop")
                return
            if entry.record.state.status not in ALIVE:
                raise NotModified(f"container {entry.record.id} is already stopped")
            run = entry.record.state.started_at
            self._send(entry, number, why)
        if not entry.ended.wait(None if timeout < 0 else timeout):
            with entry.lock:
                if entry.record.state.status in ALIVE and entry.record.state.started_at == run:
                    self._send(entry, SIGKILL, why)
                    entry.detail = f"{why.told(number)}, then SIGKILL after {timeout} s"
            self._await_end(entry)
        if why.cause is ExitCause.ASKED:
            self._parts.announce(entry.record, "stop")

    def end_unhealthy(self, entry: Entry) -> None:
        """Stop it gently, so that it is restarted; the user's own wish to stop it comes first."""
        with entry.lock:
            state = entry.record.state
            if state.status is not Status.RUNNING or state.stopped_by_user or entry.cause is ExitCause.HEALTH:
                return
            assert state.health
            said = state.health.log[-1].output.strip().partition("\n")[0] if state.health.log else ""
            text = f"{state.health.failing_streak} health checks failed in a row" + (f": {said}" if said else "")
            entry.cause, entry.detail = ExitCause.HEALTH, text
        with suppress(NotModified):
            self.stop(entry, None, None, Why("", cause=ExitCause.HEALTH, text=text))

    def end(self, entry: Entry, why: Why) -> None:
        """Make sure that nothing runs, at once."""
        with entry.lock:
            if entry.record.state.status is Status.RESTARTING:
                self._give_up_restart(entry)
            if entry.record.state.status not in ALIVE:
                return
            self._send(entry, SIGKILL, why)
        self._await_end(entry)

    def pause(self, entry: Entry) -> None:
        with entry.lock:
            record = entry.record
            if record.state.status is Status.PAUSED:
                raise Conflict(f"container {record.id} is already paused")
            self._need_running(entry)
            features = self._parts.runtime(record).features()
            if not features.pause:
                why = features.why.get("pause", "it has no such feature")
                raise Unsupported(f"the runtime {record.runtime} cannot pause: {why}")
            try:
                self._parts.runtime(record).pause(record.id)
            except NotFound:  # its end has just not been heard of
                raise Conflict(f"container {record.id} is not running") from None
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

    def _need_running(self, entry: Entry) -> None:
        record = entry.record
        if record.state.status is Status.RESTARTING:
            raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
        if record.state.status not in ALIVE:
            raise Conflict(f"container {record.id} is not running")

    def _send(self, entry: Entry, number: int, why: Why, *, ends: bool = True) -> None:
        """``ends``: this is meant to end it. A paused container cannot take a signal, so it is thawed for that."""
        record = entry.record
        entry.sent[number] = why.told(number)
        if ends:
            entry.cause, entry.detail = why.cause, why.told(number)
            record.state.ending = why.text
            record.state.stopped_by_user = record.state.stopped_by_user or why.cause is ExitCause.ASKED
            if why.text or record.host_config["RestartPolicy"]["Name"] != "no":  # the next daemon must know, too
                self._parts.save(record)
        if number not in _UNHEEDED and not record.host_config["PidMode"]:
            beginnings.wait(record.state.pid, record.state.started_at, number)
        try:
            self._parts.runtime(record).signal(record.id, record.state.pid, number)
        except NotFound:
            return  # it has just ended by itself
        except (Unavailable, Internal):
            if number != SIGKILL or not lastresort.kill(record.state):
                raise
        finally:
            self._parts.announce(record, "kill", signal=str(number))
        if ends and record.state.status is Status.PAUSED:
            self._resume(entry)
        elif number == SIGKILL:
            self._thaw(record)

    def _thaw(self, record: Container) -> None:
        """Others may have frozen it, and what is frozen in version 1 groups cannot die."""
        with suppress(SampanError, OSError):
            if self._parts.runtime(record).frozen(record.id):
                self._parts.runtime(record).resume(record.id)

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
