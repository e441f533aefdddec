"""The kit's suites, one class for each mutant. ``judge`` runs it; by itself pytest does not collect it."""

from __future__ import annotations

from mutants import network_beyond, runtime, storage
from sampan.testing.runtime import containers
from sampan.testing.suites import suite

containers.PATIENCE = 3.0  # what hangs on purpose is not worth waiting for


for _mutants in (storage.MUTANTS, network_beyond.MUTANTS, runtime.MUTANTS):
    _kinds = [mutant.driver for mutant in _mutants.all]
    for _kind in [*_kinds, _mutants.control] if _mutants.control else _kinds:
        globals()[f"Test{_kind.__name__}"] = suite(_mutants.family, _kind)
