"""The kit's suites, one class for each mutant. ``judge`` runs it; by itself pytest does not collect it."""

from __future__ import annotations

from typing import Any

from mutants import network_beyond, runtime, storage
from mutants.judging import faulty
from sampan.testing.runtime import containers
from sampan.testing.suites import suite

containers.PATIENCE = 3.0  # what hangs on purpose is not worth waiting for


def _of(family: str, driver: type[Any], *tests: str) -> type[Any]:
    """The suite for a driver with these tests alone: to collect all of them for each mutant takes longer than to run
    what is run."""
    made = suite(family, driver)
    for name in [name for name in dir(made) if name.startswith("test_") and name not in tests]:
        setattr(made, name, None)
    return made


for _mutants in (storage.MUTANTS, network_beyond.MUTANTS, runtime.MUTANTS):
    for _mutant in _mutants.all:
        _made = _of(_mutants.family, _mutant.driver, _mutant.caught_by.partition("[")[0])
        globals()[f"Test{_mutant.driver.__name__}"] = _made
    if _mutants.control:
        _tests = {each.partition("[")[0] for each in faulty(_mutants)}
        globals()[f"Test{_mutants.control.__name__}"] = _of(_mutants.family, _mutants.control, *_tests)
