"""Steps: what was done to make a container, written down while it is done, for ``sampan explain``.

A driver may say what it makes in the kernel; nothing has to be passed along for that::

    from sampan.drivers.steps import step

    with step("make a pair of links", "veth", f"{ours} to {theirs}"):
        ...

Where nobody writes down (most calls of a driver), a step costs a fraction of a microsecond; else about one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import msgspec

P = ParamSpec("P")
T = TypeVar("T")


class Step(msgspec.Struct, kw_only=True):
    """One step. ``kind`` and ``object`` are what it is about: the kind of thing (mount, veth, cgroup, process, file …)
    and its name or path. ``begin`` and ``end`` are nanoseconds after the trail's first moment. ``who``: the process
    that took it (daemon, monitor, starter, init), ``pid`` as the host sees it, and ``thread`` its thread."""

    what: str
    kind: str = ""
    object: str = ""
    driver: str = ""
    who: str = "daemon"
    pid: int = 0
    thread: str = ""
    begin: int
    end: int
    error: str = ""


class _Here(threading.local):
    trail: Trail | None = None
    driver: str = ""


_here = _Here()


class step:
    """A context: what happens in it is one step of the trail that the calling thread is on, if it is on one.

    ``what`` is said as an order ("mount the root"). Its attributes may be set until the end. Steps inside a step
    that names its ``driver`` are that driver's.
    """

    __slots__ = ("_before", "_begin", "_trail", "driver", "kind", "object", "what")

    def __init__(self, what: str, kind: str = "", object: str = "", driver: str = "") -> None:
        self.what = what
        self.kind = kind
        self.object = object
        self.driver = driver

    def __enter__(self) -> step:
        self._trail = _here.trail
        if self._trail is not None:
            self._before = _here.driver
            self.driver = _here.driver = self.driver or self._before
            self._begin = time.monotonic_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._trail is not None:
            _here.driver = self._before
            self._trail.add(self, self._begin, time.monotonic_ns(), error)


def carried(function: Callable[[], T]) -> Callable[[], T]:
    """``function`` for another thread: its steps are the calling one's."""
    trail, driver = _here.trail, _here.driver

    def there() -> T:
        _here.trail, _here.driver = trail, driver
        try:
            return function()
        finally:
            _here.trail, _here.driver = None, ""

    return function if trail is None else there


class Trail:
    """The steps of one operation, of all threads that :meth:`run` for it. ``at`` is its first moment, in nanoseconds
    since 1970; ``first`` the same by the monotonic clock."""

    def __init__(self) -> None:
        self.at = time.time_ns()
        self.first = time.monotonic_ns()
        self.last = self.first
        self.error = ""
        self._taken: list[tuple[step, int, int, str, str]] = []
        self._before: Trail | None = None

    def __enter__(self) -> Trail:
        self._before, _here.trail = _here.trail, self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _here.trail = self._before
        self.last = time.monotonic_ns()
        if error is not None:
            self.error = _said(error)

    def run(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Call ``function`` in this thread, on this trail."""
        before, _here.trail = _here.trail, self
        try:
            return function(*args, **named)
        finally:
            _here.trail = before

    def add(self, taken: step, begin: int, end: int, error: BaseException | None) -> None:
        """Called by :class:`step`; appending to a list needs no lock."""
        said = "" if error is None else _said(error)
        self._taken.append((taken, begin, end, threading.current_thread().name, said))

    def steps(self) -> list[Step]:
        """All of them, in the order in which they began; one that lies in another follows it."""
        made = [
            Step(
                what=taken.what,
                kind=taken.kind,
                object=taken.object,
                driver=taken.driver,
                thread=thread,
                begin=begin - self.first,
                end=end - self.first,
                error=error,
            )
            for taken, begin, end, thread, error in list(self._taken)
        ]
        return sorted(made, key=order)


def order(taken: Step) -> tuple[int, int]:
    return taken.begin, -taken.end


def _said(error: BaseException) -> str:
    message: Any = getattr(error, "message", None)
    return message if isinstance(message, str) else f"{type(error).__name__}: {error}"
