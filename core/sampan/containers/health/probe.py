"""One health check under way: an exec whose output is kept, and that is killed when it takes too long."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from sampan.containers import timestamps
from sampan.containers.clock import Appointment
from sampan.containers.execs import Execs
from sampan.containers.health.healthcheck import OUTPUT, Check
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.errors import Conflict, NotFound
from sampan.types import HealthResult

REST = 1.0  # seconds for the last output after a check's end, and for its end after it was killed
_HEAD = 8
_RAW = 12 * OUTPUT  # bytes that are looked at: output comes in frames, each with a head

Told = Callable[[HealthResult | None], None]


class Probe:
    """``told`` is called once: with the result, or None if the container was not there to be checked.

    After :meth:`run` all happens in the clock's thread.
    """

    def __init__(self, parts: Parts, execs: Execs, entry: Entry, check: Check, told: Told) -> None:
        self._clock = parts.clock
        self._execs = execs
        self._entry = entry
        self._check = check
        self._told: Told | None = told
        self._started = time.time_ns()
        self._id = ""
        self._stream: socket.socket | None = None
        self._said = bytearray()
        self._silent = False  # all output is there
        self._late = False
        self._code: int | None = None
        self._waits: list[Appointment] = []

    def run(self) -> None:
        """Start it; returns when its process runs."""
        body = {"Cmd": self._check.command, "AttachStdout": True, "AttachStderr": True}
        try:
            self._id = self._execs.create(self._entry.record.id, body).id
            self._execs.when_ended(self._id, lambda code: self._clock.later(0, lambda: self._ended(code)))
            self._waits.append(self._clock.later(self._check.timeout, self._overdue))
            stream = self._execs.start(self._id)
        except (Conflict, NotFound):
            self._clock.later(0, lambda: self._finish(None))
        except Exception as error:
            failure = self._result(-1, str(error))
            self._clock.later(0, lambda: self._finish(failure))
        else:
            assert stream is not None
            self._clock.later(0, lambda: self._listen(stream))

    def _listen(self, stream: socket.socket) -> None:
        if self._late:  # while it was being started
            self._execs.end(self._id)
        if self._told is None:
            stream.close()
            return
        self._stream = stream
        self._clock.watch(stream.fileno(), self._hear)

    def _hear(self) -> None:
        if self._stream is None:
            return
        try:
            data = self._stream.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._said += data[: _RAW - len(self._said)]
        if not data:
            self._hang_up()
            self._silent = True
            if self._code is not None:
                self._tell()

    def _ended(self, code: int) -> None:
        self._code = code
        if self._silent:
            self._tell()
        elif self._told:
            self._waits.append(self._clock.later(REST, self._tell))

    def _overdue(self) -> None:
        self._late = True
        self._waits.append(self._clock.later(REST, self._tell))
        self._execs.end(self._id)

    def _tell(self) -> None:
        text = unframed(bytes(self._said))
        if self._late:
            said = f"Health check exceeded timeout ({duration(self._check.timeout)})"
            self._finish(self._result(-1, f"{said}: {text}" if text else said))
        else:
            self._finish(self._result(-1 if self._code is None else self._code, text))

    def _result(self, code: int, text: str) -> HealthResult:
        start, end = timestamps.text(self._started), timestamps.now()
        return HealthResult(start=start, end=end, exit_code=code, output=text)

    def _finish(self, result: HealthResult | None) -> None:
        told, self._told = self._told, None
        for wait in self._waits:
            wait.cancel()
        self._hang_up()
        if told:
            self._execs.drop(self._id)
            told(result)

    def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            self._clock.unwatch(stream.fileno())
            stream.close()


def unframed(said: bytes) -> str:
    """The text in Docker's frames, cut after :data:`OUTPUT` bytes."""
    text, at = b"", 0
    while at + _HEAD <= len(said) and len(text) <= OUTPUT:
        length = int.from_bytes(said[at + 4 : at + _HEAD], "big")
        text += said[at + _HEAD : at + _HEAD + length]
        at += _HEAD + length
    return text[:OUTPUT].decode("utf-8", "replace") + ("..." if len(text) > OUTPUT else "")


def duration(seconds: float) -> str:
    """As Go writes it: ``30s``, ``1m30s``, ``1.5s``, ``200ms``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:g}s"
