"""``macvlan`` and ``ipvlan`` go through the suite of network drivers; what only they promise."""

from __future__ import annotations

import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Host
from sampan.testing.network import NetworkDriverTests
from sampan_network.ipvlan import Ipvlan
from sampan_network.macvlan import Macvlan


class TestMacvlan(NetworkDriverTests):
    driver_name = "macvlan"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Macvlan(host, Macvlan.Options())


class TestIpvlan(NetworkDriverTests):
    driver_name = "ipvlan"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        driver = Ipvlan(host, Ipvlan.Options())
        if not (check := driver.check()).usable:
            pytest.skip(check.reason)
        return driver
