"""Which worker does which module when, if a run has several (pytest-xdist).

The tests of a module share an engine, so one worker does them all. What takes longest begins first: a module that
takes two minutes and comes last is one that all others wait for.
"""

from __future__ import annotations

import faulthandler
import os
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

LONGEST: dict[str, float] = {}
"""Seconds that modules take, roughly (``make test ARGS=--durations=0``); only their order matters."""

USUAL = 0.3
"""Seconds of a test elsewhere: the more tests a module has, the earlier it begins."""

GRACE = 30.0
"""Seconds after its timeout that a test may take to end."""

_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[_STDERR] = os.dup(2)  # before it is captured


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """A worker that is told that a test's time is up, and hears nothing, ends: the run goes on without it.

    So it is with a test that waits in a call which signals do not interrupt.
    """
    if settings.timeout and hasattr(item.config, "workerinput"):
        faulthandler.dump_traceback_later(settings.timeout + GRACE, exit=True, file=item.config.stash[_STDERR])


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    if hasattr(item.config, "workerinput"):
        faulthandler.cancel_dump_traceback_later()


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]
    """As ``--dist loadfile``, in another order; and a run goes on to its end when a worker dies.

    There, a worker that dies leaves the test that it died of to be tried again, and modules that are done, to be done
    again: whoever gets one of these has nothing to do, never tells that it has done it, and the run waits for ever.
    """

    def _assign_work_unit(self, node: Any) -> None:
        longest = max(self.workqueue, key=self._seconds)
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)

    def _seconds(self, module: str) -> float:
        return LONGEST.get(module) or USUAL * len(self.workqueue[module])

    def remove_node(self, node: Any) -> str | None:
        """The test that it died of, which counts as done; others do what it leaves."""
        crashed = ""
        for module, tests in self.assigned_work.pop(node).items():
            left = [test for test, done in tests.items() if not done]
            if left and not crashed:
                crashed = left.pop(0)
                tests[crashed] = True
            if left:
                self.workqueue[module] = tests
        for other in self.nodes:
            self._reschedule(other)
        return crashed or None

    def _reschedule(self, node: Any) -> None:
        if node in self.registered_collections:  # whoever comes for one who died may still look for the tests
            super()._reschedule(node)

    def schedule(self) -> None:
        """At the start, and when somebody has come for one who died, who needs two modules to begin with the first."""
        begun = self.collection is not None
        super().schedule()
        if begun:
            super().schedule()
