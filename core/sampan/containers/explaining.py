"""What was done to make each container: kept beside its log, so that it can be told long after, by any daemon.

Writing is put off until a start has had a second to itself. A daemon that is killed before that takes the last
steps with it; they are a comfort, not a record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sampan.containers.clock import Clock
from sampan.drivers.steps import Step, Trail, order
from sampan.linux import messages

if TYPE_CHECKING:
    from sampan.containers.monitors import Started

FILE = "steps.json"
_LATER = 1.0  # seconds after a start
_MOMENT = 0.5  # seconds for the marks of a start that is over to come


class Told(msgspec.Struct, kw_only=True):
    """One operation: ``at`` in nanoseconds since 1970, ``took`` in nanoseconds, ``error`` if it failed."""

    at: int
    took: int
    error: str = ""
    steps: list[Step]


Operations = dict[str, Told]
"""``create``, and ``start``: the last one."""


class Explanations:
    """Thread-safe. ``directory`` holds a directory for each container."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._fresh: dict[str, dict[str, Account]] = {}
        self._due = False

    @contextmanager
    def account(self, ident: str, operation: str) -> Iterator[Account]:
        """What happens in this context, in this thread, is an operation on the container."""
        account = Account()
        with self._lock:
            self._fresh.setdefault(ident, {})[operation] = account
        try:
            with account.trail:
                yield account
        finally:
            account.over = True
            with self._lock:
                due, self._due = self._due, True
            if not due:
                self._clock.later(_LATER, self.write)

    def reported(self, ident: str, marks: bytes) -> None:
        """The marks of the processes below the daemon have come, right after the start that they belong to."""
        with self._lock:
            account = self._fresh.get(ident, {}).get("start")
        if account:
            account.marks = marks
            account.complete.set()

    def write(self) -> None:
        """Write down what is over and is not written yet."""
        with self._lock:
            self._due = False
            for ident, fresh in list(self._fresh.items()):
                over = {name: account.told() for name, account in fresh.items() if account.over}
                self._write(ident, over)
                self._fresh[ident] = {name: account for name, account in fresh.items() if name not in over}
                if not self._fresh[ident]:
                    del self._fresh[ident]

    def forget(self, ident: str) -> None:
        """The container's directory is about to go: nothing is written there any more."""
        with self._lock:
            self._fresh.pop(ident, None)

    def tell(self, ident: str) -> Operations:
        """All that is known; empty if nothing is."""
        with self._lock:
            fresh = {name: account for name, account in self._fresh.get(ident, {}).items() if account.over}
        for account in fresh.values():
            account.settle()
        with self._lock:
            return {**self._written(ident), **{name: account.told() for name, account in fresh.items()}}

    def _written(self, ident: str) -> Operations:
        try:
            return msgspec.json.decode((self._directory / ident / FILE).read_bytes(), type=Operations)
        except (OSError, msgspec.MsgspecError):  # none, or half of one
            return {}

    def _write(self, ident: str, fresh: Operations) -> None:
        directory = self._directory / ident
        try:
            text = msgspec.json.encode({**self._written(ident), **fresh})
            fresh_file = directory / f"{FILE}.new"
            fresh_file.touch(mode=0o600)
            fresh_file.write_bytes(text)
            fresh_file.replace(directory / FILE)
        except OSError:  # it has gone, or there is no room: not what a container should suffer from
            return


class Account:
    """An operation as it is written down: the daemon's trail, and what the processes below it reported."""

    def __init__(self) -> None:
        self.trail = Trail()
        self.over = False
        self.marks = b""
        self.complete = threading.Event()
        self._asked = 0
        self._started: Started | None = None
        self._driver = ""

    def started(self, started: Started, asked: int, driver: str) -> None:
        """A monitor has reported; it had been asked at ``asked`` by the monotonic clock, in nanoseconds."""
        self._started, self._asked, self._driver = started, asked, driver

    def settle(self) -> None:
        """Give the marks of a start a moment to come."""
        if self._started:
            self.complete.wait(_MOMENT)

    def told(self) -> Told:
        trail = self.trail
        steps = trail.steps()
        for each in steps:
            each.pid = os.getpid()
        if self._started and self.marks:
            steps = sorted([*steps, *self._reported(self._started)], key=order)
        return Told(at=trail.at, took=trail.last - trail.first, error=trail.error, steps=steps)

    def _reported(self, started: Started) -> Iterator[Step]:
        """A mark says what was just done, so a step begins at the process's mark before; the first is a beginning."""
        first, asked = self.trail.first, self._asked
        for who, pid, marks in messages.loads(self.marks):
            before = 0
            for what, kind, name, at in marks:
                if asked:
                    woken = Step(what="wake a monitor", kind="process", begin=asked - first, end=at - first)
                    yield _of(woken, "monitor", started.monitor)
                    asked = 0
                if what and before:
                    taken = Step(what=what, kind=kind, object=name, begin=before - first, end=at - first)
                    taken.driver = self._driver
                    yield _of(taken, who, pid or started.pid)
                before = at


def _of(taken: Step, who: str, pid: int) -> Step:
    taken.who, taken.pid = who, pid
    return taken
