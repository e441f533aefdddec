"""The kit's suites, by family, for a driver that is known by its class alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sampan.testing.network import NetworkDriverTests
from sampan.testing.runtime import RuntimeDriverTests
from sampan.testing.storage import StorageDriverTests

SUITES: dict[str, tuple[type, str]] = {
    "storage": (StorageDriverTests, "sampan_host"),
    "network": (NetworkDriverTests, "host"),
    "runtime": (RuntimeDriverTests, "host"),
}
"""Each with the fixture that gives the ``Host`` which its drivers are made for."""


def suite(family: str, kind: type[Any], options: msgspec.Struct | None = None, name: str = "") -> type:
    """A class of tests for the driver class ``kind``; ``options`` are its own, or None for their defaults."""
    base, host = SUITES[family]

    def driver(self: object, request: pytest.FixtureRequest) -> Any:
        return kind(request.getfixturevalue(host), kind.Options() if options is None else options)

    return type(f"Test{kind.__name__}", (base,), {"driver": pytest.fixture(driver), "driver_name": name})
