"""The built-in network drivers go through the suite that they offer to others."""

from __future__ import annotations

import msgspec
import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Host
from sampan.errors import Invalid
from sampan.testing.network import HOST_ADDRESS, OUTSIDE_ADDRESS, NetworkDriverTests
from sampan.testing.places import Net
from sampan.testing.wires import Namespace, Server, ask, links, silent
from sampan_network.bridge import Bridge
from sampan_network.host import Host as HostDriver
from sampan_network.internal import Internal
from sampan_network.none import Nothing
from sampan_network.settings import BINDING, BRIDGE, ICC, MASQUERADE
from sampan_network.values import MTU


class TestBridge(NetworkDriverTests):
    driver_name = "bridge"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Bridge(host, Bridge.Options())

    def test_without_icc_neighbours_do_not_reach_one_another_but_the_host_does(
        self, driver: NetworkDriver, world: Namespace
    ) -> None:
        net = with_options(driver, ICC, "false")
        one, other = net.join(), net.join()
        with Server(other.sandbox, 80), Server(world, 81):
            assert silent(one.sandbox, other.address, 80)
            assert ask(world, other.address, 80)
            assert ask(one.sandbox, net.spec.subnets[0].gateway, 81)

    def test_without_masquerade_a_container_goes_out_under_its_own_address(
        self, driver: NetworkDriver, outside: Namespace
    ) -> None:
        net = with_options(driver, MASQUERADE, "false")
        place = net.join()
        outside.ip("route", "add", net.spec.subnets[0].subnet, "via", HOST_ADDRESS)
        with Server(outside, 80):
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80) == place.address

    def test_the_mtu_is_that_of_bridge_and_endpoint(self, driver: NetworkDriver, world: Namespace) -> None:
        net = with_options(driver, MTU, "1400")
        place = net.join()
        assert links(place.sandbox)["eth0"]["mtu"] == 1400
        assert {one["mtu"] for name, one in links(world).items() if name != "lo"} == {1400}

    @pytest.mark.parametrize(
        ("key", "value"),
        [(ICC, "maybe"), (MTU, "9"), (MTU, "big"), (BRIDGE, "a/b"), (BRIDGE, "x" * 16), (BINDING, "::")],
    )
    def test_a_wrong_value_is_refused_by_name(self, driver: NetworkDriver, key: str, value: str) -> None:
        with pytest.raises(Invalid, match=key):
            with_options(driver, key, value)


def with_options(driver: NetworkDriver, key: str, value: str) -> Net:
    net = Net(driver, 1)
    net.spec = msgspec.structs.replace(net.spec, options={key: value})
    driver.validate(net.spec)
    driver.create_network(net.spec)
    return net


class TestInternal(NetworkDriverTests):
    driver_name = "internal"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Internal(host, Internal.Options())


class TestHost(NetworkDriverTests):
    driver_name = "host"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return HostDriver(host, HostDriver.Options())


class TestNone(NetworkDriverTests):
    driver_name = "none"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Nothing(host, Nothing.Options())
