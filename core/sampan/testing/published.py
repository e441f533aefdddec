"""The network drivers' suite on published ports: from where they are reached, by whom, and whose they are."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import NetworkFeatures, PortBinding
from sampan.errors import Conflict
from sampan.testing import wires
from sampan.testing.places import Net
from sampan.testing.wires import (
    HOST_ADDRESS,
    HOST_ADDRESS_6,
    OUTSIDE_ADDRESS,
    OUTSIDE_ADDRESS_6,
    Namespace,
    Server,
    ask,
    silent,
)


class PublishedPortTests:
    """A part of :class:`sampan.testing.network.NetworkDriverTests`, which has the fixtures."""

    @pytest.mark.parametrize("protocol", ["tcp", "udp"])
    def test_a_published_port_is_reached_from_everywhere(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace, world: Namespace, protocol: str
    ) -> None:
        self.need(features.publish, "publishing")
        net = make()
        place, neighbour, stranger = net.join(), net.join(), make(2).join()
        place.publish(8080, protocol=protocol)
        with Server(place.sandbox, 80):
            assert ask(outside, HOST_ADDRESS, 8080, protocol=protocol) == OUTSIDE_ADDRESS
            for address in ("127.0.0.1", HOST_ADDRESS):
                assert ask(world, address, 8080, protocol=protocol), address
            for container in (neighbour, stranger, place):
                assert ask(container.sandbox, HOST_ADDRESS, 8080, protocol=protocol), container.address
            place.unpublish()
            place.unpublish()
            assert silent(outside, HOST_ADDRESS, 8080)

    def test_a_client_that_keeps_sending_datagrams_finds_who_has_the_port_now(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace
    ) -> None:
        self.need(features.publish, "publishing")
        net = make()
        one, other = net.join(), net.join()
        with outside.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(wires.SILENCE / 4)
            client.bind(("", 40404))
            client.sendto(b"?", (HOST_ADDRESS, 8080))  # too early: this flow, too, must not stick
            for place in (one, other):
                place.publish(8080, protocol="udp")
                with Server(place.sandbox, 80):
                    assert self._answer_to_many(client) == OUTSIDE_ADDRESS
                place.unpublish()

    def _answer_to_many(self, client: socket.socket) -> str:
        """What comes back to one who sends again and again, as long as a flow that is stuck is kept."""
        deadline = time.monotonic() + wires.PATIENCE
        while time.monotonic() < deadline:
            client.sendto(b"?", (HOST_ADDRESS, 8080))
            with contextlib.suppress(OSError):
                return client.recv(64).decode()
        return ""

    def test_a_port_is_published_over_ipv6(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace
    ) -> None:
        self.need(features.publish, "publishing")
        place = make(ipv6=True).join()
        place.publish(8080, host_ip="::")
        with Server(place.sandbox, 80, family=socket.AF_INET6):
            assert ask(outside, HOST_ADDRESS_6, 8080) == OUTSIDE_ADDRESS_6

    def test_a_port_published_on_one_address_is_not_on_others(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace, world: Namespace
    ) -> None:
        self.need(features.publish, "publishing")
        place = make().join()
        place.publish(8080, host_ip="127.0.0.1")
        place.publish(8081, host_ip=HOST_ADDRESS)
        with Server(place.sandbox, 80):
            assert ask(world, "127.0.0.1", 8080)
            assert silent(outside, HOST_ADDRESS, 8080)
            assert ask(outside, HOST_ADDRESS, 8081)
            assert silent(world, "127.0.0.1", 8081)
            if features.isolates:
                outside.ip("route", "add", place.subnet, "via", HOST_ADDRESS)
                assert silent(outside, place.address, 80)

    def test_the_hosts_loopback_is_reached_by_nobody_over_a_cable_or_a_bridge(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace, world: Namespace
    ) -> None:
        self.need(features.publish and features.isolates, "publishing by rules of its own")
        net = make()
        place, hostile = net.join(), net.join()
        place.publish(8080, host_ip="127.0.0.1")
        gateway = place.gateway
        with Server(place.sandbox, 80), Server(world, 81):
            for stranger, way, port in ((outside, HOST_ADDRESS, 8080), (outside, HOST_ADDRESS, 81)):
                wires.send_loopback_by(stranger, way)
                assert silent(stranger, "127.0.0.1", port)
            wires.send_loopback_by(hostile.sandbox, gateway)
            assert silent(hostile.sandbox, "127.0.0.1", 81)
            assert silent(hostile.sandbox, "127.0.0.1", 8080)

    def test_a_port_belongs_to_one_and_all_ports_or_none_are_published(
        self, features: NetworkFeatures, make: Callable[..., Net], driver: NetworkDriver, world: Namespace
    ) -> None:
        self.need(features.publish, "publishing")
        net = make()
        one, other = net.join(), net.join()
        one.publish(8080)
        one.publish(8080)
        ports = [
            PortBinding(protocol="tcp", container_port=80, host_ip="0.0.0.0", host_port=port) for port in (8081, 8080)
        ]
        with pytest.raises(Conflict, match="8080"):
            driver.publish(net.spec, other.endpoint, ports)
        with Server(other.sandbox, 80):
            assert silent(world, "127.0.0.1", 8081)
        driver.unpublish(net.spec, other.endpoint, ports)
        with Server(one.sandbox, 80):
            assert ask(world, "127.0.0.1", 8080)

    def need(self, has: bool, what: str) -> None:
        if not has:
            pytest.skip(f"this driver does not have {what}")
