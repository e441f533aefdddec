"""What lies beyond the host: for drivers whose networks stand on one of its links, or have addresses of their own.

Part of :class:`sampan.testing.network.NetworkDriverTests`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping

import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import NetworkFeatures
from sampan.errors import Invalid, NotFound
from sampan.linux import netns, sysctl
from sampan.testing import wires
from sampan.testing.places import Net
from sampan.testing.wires import Namespace, Server, ask, links

WORLD, WORLD_6 = "203.0.113.1", "2001:db8:99::1"
"""Addresses that are reached by way of a gateway beyond the parent."""


class Beyond(Namespace):
    """Somebody else's network behind a link of the host, ``parent``, with the gateways of the kit's networks."""

    def __init__(self, world: Namespace, number: int) -> None:
        super().__init__()
        self.parent = f"wireup{number}"
        world.ip("link", "add", self.parent, "type", "veth", "peer", "name", "wire", "netns", str(self.path))
        world.ip("link", "set", self.parent, "up")
        for address, link in (
            (f"10.2{number}.0.1/16", "wire"),
            (f"fd00:{number}::1/64", "wire"),
            (f"10.3{number}.0.1/16", "wire"),
            (f"{WORLD}/32", "lo"),
            (f"{WORLD_6}/128", "lo"),
        ):
            self.ip("address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
        self.ip("link", "set", "wire", "up")
        netns.inside(
            self.fd, lambda: sysctl.write("net/ipv4/conf/all/arp_ignore", "1")
        )  # the world is not on the cable


class BeyondTests:
    """Needs the fixtures of the class of which it is a part."""

    @pytest.fixture
    def beyond(self, driver: NetworkDriver, world: wires.Host) -> Iterator[Mapping[int, Beyond]]:
        """Behind the parents of the networks 1 and 2; nothing for a driver that has no parents."""
        with contextlib.ExitStack() as stack:
            numbers = (1, 2) if driver.features().parent else ()
            yield {number: stack.enter_context(contextlib.closing(Beyond(world, number))) for number in numbers}

    def test_the_way_out_is_by_the_gateway_beyond_the_parent(
        self, features: NetworkFeatures, make: Callable[..., Net], beyond: Mapping[int, Beyond]
    ) -> None:
        need(bool(features.parent), "parents")
        place = make(ipv6=True).join()
        seen = [address.split("/")[0] for address in place.endpoint.addresses]
        for family, there, own in zip((socket.AF_INET, socket.AF_INET6), (WORLD, WORLD_6), seen, strict=True):
            with Server(beyond[1], 80, family=family), Server(place.sandbox, 81, family=family):
                assert ask(place.sandbox, there, 80) == own, f"{there} is not reached by way of the gateway"
                assert ask(beyond[1], own, 81), f"{own} is not reached from beyond the parent"

    def test_a_network_that_has_lost_its_parent_says_so_and_holds_nobody_up(
        self, driver: NetworkDriver, make: Callable[..., Net], beyond: Mapping[int, Beyond], world: wires.Host
    ) -> None:
        need(bool(driver.features().parent), "parents")
        lost, well = make(1), make(2)
        places = [lost.join(), well.join()]
        world.ip("link", "delete", beyond[1].parent)
        again = type(driver)(driver.host, driver.options)
        again.restore({net.spec.id: net.spec for net in (lost, well)}, [place.joined() for place in places])
        with pytest.raises(NotFound, match=beyond[1].parent):
            again.join(lost.spec, lost.endpoint(), places[0].sandbox.path)
        again.leave(lost.spec, places[0].endpoint, places[0].sandbox.path)
        again.remove_network(lost.spec)
        well.driver = again
        assert "eth0" in links(well.join().sandbox)

    @pytest.mark.parametrize("parent", ["lo", "a/b", "x" * 16, "no such link", "-", "nosuch0", "nosuch0.50"])
    def test_a_parent_that_cannot_be_is_refused_by_name(
        self, features: NetworkFeatures, driver: NetworkDriver, world: wires.Host, parent: str
    ) -> None:
        need(bool(features.parent), "parents")
        net = Net(driver, 1, options={features.parent: parent})

        def create() -> None:
            driver.validate(net.spec)
            driver.create_network(net.spec)

        with pytest.raises((Invalid, NotFound), match="loopback" if parent == "lo" else parent):
            create()
        assert set(links(world)) == {"lo"}

    def test_an_address_of_a_second_subnet_has_that_subnets_gateway(
        self, features: NetworkFeatures, make: Callable[..., Net]
    ) -> None:
        need(features.addresses and not features.internal, "a way out")
        place = make(second=True).join()
        (route,) = place.sandbox.ip("route", "show", "default")
        assert place.address.startswith("10.31.")
        assert route.get("gateway") in (None, "10.31.0.1"), "the way out is by the gateway of another subnet"

    def test_addresses_that_a_driver_gives_itself_are_there_and_told(
        self, features: NetworkFeatures, make: Callable[..., Net]
    ) -> None:
        need(not features.addresses and features.sandbox == "own", "addresses of its own")
        place = make().join()
        found = {
            f"{one['local']}/{one['prefixlen']}"
            for link in links(place.sandbox).values()
            for one in link["addr_info"]
            if one["scope"] == "global"
        }
        assert found == set(place.endpoint.addresses)

    def test_restore_removes_from_a_sandbox_what_nobody_knows(
        self, driver: NetworkDriver, make: Callable[..., Net]
    ) -> None:
        """As after a kill while a running container was connected to one more network, or disconnected."""
        net, other = make(1), make(2)
        place = net.join()
        need(bool(place.endpoint.addresses), "addresses")
        other.join(place.sandbox, interface="eth1", default_route=False)
        alone = other.join()
        again = type(driver)(driver.host, driver.options)
        again.restore({one.spec.id: one.spec for one in (net, other)}, [place.joined()])
        assert set(links(place.sandbox)) == {"lo", "eth0"}
        assert set(links(alone.sandbox)) == {"lo"}


def need(has: bool, what: str) -> None:
    if not has:
        pytest.skip(f"this driver does not have {what}")
