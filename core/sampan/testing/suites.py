"""The kit's suites, by family, for a driver that is known by its class alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
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


def suite(
    family: str,
    kind: type[Any],
    options: msgspec.Struct | None = None,
    name: str = "",
    networks: Mapping[str, str] | None = None,
) -> type:
    """A class of tests for the driver class ``kind``; ``options`` are its own, or None for their defaults.

    ``networks`` are options of the networks that a network driver's suite makes; ``{number}`` in a value is the
    network's number, 1 or 2, and ``{directory}`` one of the test's own.
    """
    base, host = SUITES[family]

    def driver(self: object, request: pytest.FixtureRequest) -> Any:
        return kind(request.getfixturevalue(host), kind.Options() if options is None else options)

    members: dict[str, Any] = {"driver": pytest.fixture(driver), "driver_name": name}
    if networks:
        members["options"] = pytest.fixture(lambda self, tmp_path: _filled_in(networks, tmp_path))
    return type(f"Test{kind.__name__}", (base,), members)


def _filled_in(networks: Mapping[str, str], directory: Path) -> Callable[[int, bool], Mapping[str, str]]:
    def options(number: int, _ipv6: bool) -> Mapping[str, str]:
        words = {"{number}": str(number), "{directory}": str(directory)}
        return {
            key: re.sub(r"\{number\}|\{directory\}", lambda found: words[found[0]], value)
            for key, value in networks.items()
        }

    return options
