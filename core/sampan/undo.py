"""Undo, not hope: every step of a longer operation says how it is undone before the next one is taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)


class Undo:
    """A stack of undo steps, run in reverse if the block is left by an exception, forgotten if it is not::

        with Undo() as undo:
            address = pool.allocate()
            undo.push(pool.release, address)
            driver.join(address)

    A step that fails does not stop the others; what failed is logged and added to the exception as a note.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def push(self, step: Callable[..., object], *args: Any) -> None:
        self._steps.append((step, args))

    def dismiss(self) -> None:
        """What was done so far stays done."""
        self._steps.clear()

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for failure in _run(reversed(self._steps)):
            log.error("while undoing: %s", failure, exc_info=failure)
            error.add_note(f"and while undoing: {failure}")
        self._steps.clear()


def teardown(*steps: Callable[[], object]) -> None:
    """Take every step, whatever fails; raise what failed, all together, as an ``ExceptionGroup``."""
    failures = _run((step, ()) for step in steps)
    if failures:
        raise ExceptionGroup("teardown was not complete", failures)


def _run(steps: Iterable[tuple[Callable[..., object], tuple[Any, ...]]]) -> list[Exception]:
    failures = []
    for step, args in steps:
        try:
            step(*args)
        except Exception as failure:  # each step must be tried
            failures.append(failure)
    return failures
