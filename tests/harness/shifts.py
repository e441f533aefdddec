"""Which worker does which module when, if a run has several (pytest-xdist).

The tests of a module share an engine, so one worker does them all. What takes longest begins first: a module that
takes two minutes and comes last is one that all others wait for.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

LONGEST = {
    "tests/faults/test_any_line.py": 104,
    "tests/conformance/test_runtime_mutants.py": 69,
    "tests/faults/test_machine.py": 60,
    "tests/authors/test_projects.py": 50,
    "tests/conformance/test_network_mutants.py": 40,
    "tests/faults/test_registry.py": 37,
    "tests/authors/test_tutorial.py": 30,
    "tests/unit/packaging/test_packaging.py": 30,
    "tests/engine/test_hooks.py": 30,
    "tests/engine/test_copying.py": 30,
    "tests/conformance/test_storage_mutants.py": 27,
    "tests/engine/test_drivers_together.py": 26,
    "tests/examples/test_packages.py": 26,
    "tests/engine/test_broken_drivers.py": 24,
    "tests/engine/test_moody_drivers.py": 24,
    "tests/engine/test_registry.py": 24,
    "tests/authors/test_kit_command.py": 20,
    "tests/engine/test_snapshots.py": 20,
    "tests/conformance/test_network_cni.py": 19,
    "tests/conformance/test_runtime.py": 19,
    "tests/clients/test_docker_compose.py": 15,
    "tests/engine/test_journey.py": 15,
}
"""Seconds that modules take, roughly (``make test ARGS=--durations=0`` tells); only their order matters."""

USUAL, QUICK = 0.3, 0.02
"""Seconds of a test elsewhere, and of one in ``tests/unit``: the more of them a module has, the earlier it begins."""

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
        with contextlib.suppress(OSError):  # it has just died: as soon as that is told, others get what it was given
            super()._assign_work_unit(node)

    def _seconds(self, module: str) -> float:
        usual = QUICK if module.startswith("tests/unit/") else USUAL
        return LONGEST.get(module) or usual * len(self.workqueue[module])

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
