"""Calling code that is not ours without waiting for it for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """One call, begun at once, in a thread that keeps no process from ending.

    Who has given it up is not told any more what became of it: ``late`` then gets what it returned, in its thread.
    ``over`` is set when all of that is done.
    """

    def __init__(self, function: Callable[[], T], late: Callable[[T], object] | None = None, name: str = "") -> None:
        self.over = threading.Event()
        self._function = function
        self._late = late
        self._given_up = False
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._failure: BaseException | None = None
        self._back = False
        self._told = threading.Event()
        threading.Thread(target=self._run, name=name or None, daemon=True).start()

    def result(self, seconds: float) -> T:
        """What it returns or raises; ``TimeoutError`` if it takes longer, and is then given up."""
        self._told.wait(seconds)
        with self._lock:
            if not self._back:
                self._given_up = True
                raise TimeoutError
        if self._failure is not None:
            raise self._failure
        return self._results[0]

    @property
    def hangs(self) -> bool:
        """Was it given up, and has it not come back since?"""
        return self._given_up and not self.over.is_set()

    def give_up(self) -> None:
        """Have :meth:`result` not wait any longer."""
        self._told.set()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:
            self._failure = error
        with self._lock:
            self._back = True
        self._told.set()
        try:
            if self._given_up and self._late is not None and self._results:
                self._late(self._results[0])
        finally:
            self.over.set()


def bounded(function: Callable[[], T], seconds: float) -> T:
    """What ``function`` returns or raises; ``TimeoutError`` if it takes longer, and is then left to itself."""
    return Call(function).result(seconds)
