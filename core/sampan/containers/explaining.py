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
        try:
            with account.trail:
                yield account
        finally:
            with self._lock:
                self._fresh.setdefault(ident, {})[operation] = account
                due, self._due = self._due, True
            if not due:
                self._clock.later(_LATER, self.write)

    def write(self) -> None:
        """Write down what is not yet."""
        with self._lock:
            self._due = False
            for ident, fresh in self._fresh.items():
                self._write(ident, {name: account.told() for name, account in fresh.items()})
            self._fresh.clear()

    def forget(self, ident: str) -> None:
        """The container's directory is about to go: nothing is written there any more."""
        with self._lock:
            self._fresh.pop(ident, None)

    def tell(self, ident: str) -> Operations:
        """All that is known; empty if nothing is."""
        with self._lock:
            fresh = {name: account.told() for name, account in self._fresh.get(ident, {}).items()}
            return {**self._written(ident), **fresh}

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
        self._asked = 0
        self._started: Started | None = None
        self._driver = ""

    def started(self, started: Started, asked: int, driver: str) -> None:
        """A monitor has reported; it had been asked at ``asked`` by the monotonic clock, in nanoseconds."""
        self._started, self._asked, self._driver = started, asked, driver

    def told(self) -> Told:
        trail = self.trail
        steps = trail.steps()
        for each in steps:
            each.pid = os.getpid()
        if self._started:
            steps = sorted([*steps, *self._reported(self._started)], key=order)
        return Told(at=trail.at, took=trail.last - trail.first, error=trail.error, steps=steps)

    def _reported(self, started: Started) -> Iterator[Step]:
        """A mark says what was just done, so a step begins at the process's mark before."""
        first = self.trail.first
        if started.took:
            waited = Step(what="wake a monitor", kind="process", begin=self._asked - first, end=started.took - first)
            yield _of(waited, "monitor", started.monitor)
        for who, pid, marks in messages.loads(started.marks) if started.marks else ():
            before = 0
            for what, kind, name, at in marks:
                if what and before:
                    taken = Step(what=what, kind=kind, object=name, begin=before - first, end=at - first)
                    taken.driver = self._driver
                    yield _of(taken, who, pid)
                before = at


def _of(taken: Step, who: str, pid: int) -> Step:
    taken.who, taken.pid = who, pid
    return taken
