"""The kit's suites, one class for each mutant. ``judge`` runs it; by itself pytest does not collect it."""

from __future__ import annotations

from typing import Any

import pytest

from mutants import network, runtime, storage
from sampan.drivers.types import Host
from sampan.testing import network as network_kit
from sampan.testing import runtime as runtime_kit
from sampan.testing import storage as storage_kit

runtime_kit.containers.PATIENCE = 3.0  # what hangs on purpose is not worth waiting for


def _suite(base: type, kind: type[Any], host: str) -> type:
    def driver(self: object, request: pytest.FixtureRequest) -> Any:
        place: Host = request.getfixturevalue(host)
        return kind(place, kind.Options())

    return type(f"Test{kind.__name__}", (base,), {"driver": pytest.fixture(driver), "__module__": __name__})


_FAMILIES = (
    (storage.MUTANTS, storage_kit.StorageDriverTests, "sampan_host"),
    (network.MUTANTS, network_kit.NetworkDriverTests, "host"),
    (runtime.MUTANTS, runtime_kit.RuntimeDriverTests, "host"),
)
for _mutants, _base, _host in _FAMILIES:
    _kinds = [mutant.driver for mutant in _mutants.all]
    for _kind in [*_kinds, _mutants.control] if _mutants.control else _kinds:
        globals()[f"Test{_kind.__name__}"] = _suite(_base, _kind, _host)
