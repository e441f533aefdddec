"""The kit's suites, one class for each mutant. ``judge`` runs it; by itself pytest does not collect it."""

from __future__ import annotations

from typing import Any

import pytest

from mutants import network, runtime, storage
from sampan.drivers.types import Host
from sampan.testing import network as network_kit
from sampan.testing import runtime as runtime_kit
from sampan.testing import storage as storage_kit


def _suite(base: type, kind: type[Any], host: str) -> type:
    def driver(self: object, request: pytest.FixtureRequest) -> Any:
        place: Host = request.getfixturevalue(host)
        return kind(place, kind.Options())

    return type(f"Test{kind.__name__}", (base,), {"driver": pytest.fixture(driver), "__module__": __name__})


for _mutant in storage.MUTANTS.all:
    globals()[f"Test{_mutant.driver.__name__}"] = _suite(storage_kit.StorageDriverTests, _mutant.driver, "sampan_host")
for _mutant in network.MUTANTS.all:
    globals()[f"Test{_mutant.driver.__name__}"] = _suite(network_kit.NetworkDriverTests, _mutant.driver, "host")
for _mutant in runtime.MUTANTS.all:
    globals()[f"Test{_mutant.driver.__name__}"] = _suite(runtime_kit.RuntimeDriverTests, _mutant.driver, "host")
