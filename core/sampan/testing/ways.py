"""The network drivers' suite on default routes: who has one, and how it moves from one endpoint to another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import NetworkFeatures
from sampan.testing.places import Net
from sampan.testing.wires import Namespace


class WayOutTests:
    """A part of :class:`sampan.testing.network.NetworkDriverTests`, which has the fixtures."""

    def test_only_the_endpoint_with_the_way_out_has_a_default_route(
        self, features: NetworkFeatures, make: Callable[..., Net]
    ) -> None:
        self.need(addressed(features) and not features.internal, "a way out")
        net = make()
        ways = [net.join(default_route=way).sandbox.ip("route", "show", "default") for way in (True, False)]
        assert [bool(way) for way in ways] == [True, False]

    def test_the_way_out_moves_from_one_endpoint_to_another_and_back(
        self, driver: NetworkDriver, make: Callable[..., Net]
    ) -> None:
        """Whoever is told twice does nothing the second time; what is no default route stays."""
        features = driver.features()
        self.need(addressed(features) and not features.internal, "a way out")
        nets = [make(1, ipv6=True), make(2, ipv6=True)]
        one = nets[0].join()
        other = nets[1].join(one.sandbox, interface="eth1", default_route=False)
        rest = other_routes(one.sandbox)
        for old, new in ((one, other), (other, one)):
            for _ in range(2):
                old.route(default=False)
            assert default_routes(one.sandbox) == {}
            for _ in range(2):
                new.route(default=True)
            assert default_routes(one.sandbox) == {4: [new.endpoint.interface], 6: [new.endpoint.interface]}
            assert other_routes(one.sandbox) == rest

    def need(self, has: bool, what: str) -> None:
        if not has:
            pytest.skip(f"this driver does not have {what}")

    def need_own_sandbox(self, driver: NetworkDriver) -> None:
        self.need(driver.features().sandbox == "own", "sandboxes of their own")


def addressed(features: NetworkFeatures) -> bool:
    """Do its endpoints have addresses, whoever gives them?"""
    return features.addresses or features.publish or features.names


def default_routes(sandbox: Namespace) -> dict[int, list[str]]:
    """By which interfaces the world is reached, by IP version."""
    found = {number: sandbox.ip(f"-{number}", "route", "show", "default") for number in (4, 6)}
    return {number: [route["dev"] for route in routes] for number, routes in found.items() if routes}


def other_routes(sandbox: Namespace) -> set[tuple[str, str]]:
    routes = [*sandbox.ip("-4", "route", "show"), *sandbox.ip("-6", "route", "show")]
    return {(one["dst"], one["dev"]) for one in routes if one["dst"] != "default"}
