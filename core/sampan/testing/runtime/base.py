"""The fixtures that all of the suite's parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Host, RuntimeFeatures
from sampan.testing.plugin import lacking
from sampan.testing.runtime.containers import Containers


class Base:
    """Give ``driver_class``, or override the fixture ``driver``."""

    family: ClassVar[str] = "runtime"
    driver_name: ClassVar[str] = ""
    driver_class: ClassVar[type[RuntimeDriver]]

    @pytest.fixture
    def host(self, sampan_root: None, sampan_host: Host) -> Host:
        """An instance that nothing else on this machine belongs to."""
        return sampan_host

    @pytest.fixture
    def directory(self, host: Host) -> Path:
        """A directory of this test's own."""
        return host.data_root.parent

    @pytest.fixture
    def driver(self, host: Host) -> RuntimeDriver:
        """The driver under test."""
        return self.driver_class(host, self.driver_class.Options())

    @pytest.fixture
    def features(self, driver: RuntimeDriver) -> RuntimeFeatures:
        return driver.features()

    @pytest.fixture(autouse=True)
    def _of_this_isolation(self, request: pytest.FixtureRequest, features: RuntimeFeatures) -> None:
        """What is about a world of its own is not asked of a runtime that isolates the file system alone."""
        test = getattr(request, "function", None)
        if features.isolation == "filesystem" and getattr(test, "__qualname__", "").partition(".")[0] in WORLDLY:
            pytest.skip("this runtime isolates the file system only")
        if features.isolation == "filesystem" and getattr(test, "needs_a_world", False):
            pytest.skip("this runtime isolates the file system only")

    @pytest.fixture
    def usable(self, driver: RuntimeDriver) -> None:
        """Skips the test where the driver is not."""
        state = driver.check()
        if not state.usable:
            lacking(f"the driver is not usable on this machine: {state.reason}")

    @pytest.fixture
    def containers(self, driver: RuntimeDriver, directory: Path, usable: None) -> Iterator[Containers]:
        """Where containers of the driver are run; afterwards nothing of them may be left."""
        with Containers(driver, directory) as containers:
            yield containers
            containers.remove_all()
            containers.assert_traces(set())


WORLDLY = {"IsolationTests", "MountTests", "HostileRootTests", "LimitTests", "PrivilegeTests", "RemappingTests"}
"""Parts of the suite that are about namespaces, mounts, limits, or what /proc tells inside."""

Test = TypeVar("Test", bound=Callable[..., None])


def in_a_world(test: Test) -> Test:
    """Marks a test of another part that needs namespaces, mounts or /proc inside."""
    test.needs_a_world = True  # type: ignore[attr-defined]
    return test


def need(features: RuntimeFeatures, name: str) -> None:
    """Skip the test unless the driver says that it has the feature."""
    if not getattr(features, name):
        pytest.skip(features.why.get(name) or f"this runtime has no {name}")


def need_namespaces(features: RuntimeFeatures) -> None:
    if features.isolation != "namespaces":
        pytest.skip(f"this runtime isolates by {features.isolation}, not by namespaces")
