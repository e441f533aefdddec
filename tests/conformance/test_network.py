"""The built-in network drivers go through the suite that they offer to others."""

from __future__ import annotations

import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Host
from sampan.testing.network import NetworkDriverTests
from sampan_network.bridge import Bridge
from sampan_network.host import Host as HostDriver
from sampan_network.internal import Internal
from sampan_network.none import Nothing


class TestBridge(NetworkDriverTests):
    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Bridge(host, Bridge.Options())


class TestInternal(NetworkDriverTests):
    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Internal(host, Internal.Options())


class TestHost(NetworkDriverTests):
    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return HostDriver(host, HostDriver.Options())


class TestNone(NetworkDriverTests):
    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Nothing(host, Nothing.Options())
