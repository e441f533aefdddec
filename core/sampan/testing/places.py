"""Networks and containers on them, made through the driver that a test is about."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from sampan.drivers import NetworkDriver
from sampan.drivers.network import Joined
from sampan.drivers.types import EndpointSpec, NetworkSpec, PortBinding, Subnet
from sampan.testing.wires import Namespace, Server, ask


class Net:
    """One network and the containers on it, made through the driver."""

    def __init__(
        self,
        driver: NetworkDriver,
        number: int,
        *,
        internal: bool = False,
        ipv6: bool = False,
        second: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """``second``: two IPv4 subnets, and addresses from the second."""
        self._features = driver.features()
        has = self._features.addresses
        subnets = [Subnet(subnet=f"10.2{number}.0.0/16", gateway=f"10.2{number}.0.1")] if has else []
        subnets += [Subnet(subnet=f"10.3{number}.0.0/16", gateway=f"10.3{number}.0.1")] if has and second else []
        subnets += [Subnet(subnet=f"fd00:{number}::/64", gateway=f"fd00:{number}::1")] if has and ipv6 else []
        self.driver = driver
        self.number = number
        self.spec = NetworkSpec(
            id=f"{number:x}c" * 32,
            name=f"net{number}",
            driver="under-test",
            subnets=tuple(subnets),
            internal=internal,
            options=dict(options or {}),
        )
        self._giving = subnets[1:] if second else subnets
        self._next = itertools.count(2)

    def endpoint(self, *, interface: str = "eth0", default_route: bool = True) -> EndpointSpec:
        index = next(self._next)
        subnets = [ipaddress.ip_network(subnet.subnet) for subnet in self._giving]
        addresses = [f"{subnet[index]}/{subnet.prefixlen}" for subnet in subnets]
        return EndpointSpec(
            id=f"{self.number:x}{index:03x}" * 16,
            container=f"{index:04x}" * 16,
            interface=interface,
            addresses=tuple(addresses),
            mac=f"02:42:0a:{self.number:02x}:00:{index:02x}" if self._features.macs else "",
            default_route=default_route,
        )

    def join(self, sandbox: Namespace | None = None, **wishes: Any) -> Place:
        place = Place(self, self.endpoint(**wishes), sandbox or Namespace())
        place.join()
        return place


class Place:
    """A container's endpoint and its sandbox."""

    def __init__(self, net: Net, endpoint: EndpointSpec, sandbox: Namespace) -> None:
        self.net = net
        self.endpoint = endpoint
        self.sandbox = sandbox
        self.ports: list[PortBinding] = []

    def join(self) -> None:
        """Addresses that the driver itself gives are the endpoint's from then on, as in the engine."""
        given = self.net.driver.join(self.net.spec, self.endpoint, self.sandbox.path)
        if given is not None:
            self.endpoint = msgspec.structs.replace(self.endpoint, addresses=tuple(given))

    @property
    def address(self) -> str:
        return self.endpoint.addresses[0].split("/")[0]

    @property
    def subnet(self) -> str:
        return str(ipaddress.ip_interface(self.endpoint.addresses[0]).network)

    @property
    def gateway(self) -> str:
        """As the suite's networks have it: the first address of the subnet."""
        return str(ipaddress.ip_interface(self.endpoint.addresses[0]).network[1])

    def publish(self, host_port: int, *, port: int = 80, host_ip: str = "0.0.0.0", protocol: Any = "tcp") -> None:
        binding = PortBinding(protocol=protocol, container_port=port, host_ip=host_ip, host_port=host_port)
        self.net.driver.publish(self.net.spec, self.endpoint, [binding])
        self.ports.append(binding)

    def unpublish(self) -> None:
        self.net.driver.unpublish(self.net.spec, self.endpoint, self.ports)

    def route(self, *, default: bool) -> None:
        """Tell the driver that this is, or is not, the container's way out."""
        self.endpoint = msgspec.structs.replace(self.endpoint, default_route=default)
        self.net.driver.route(self.net.spec, self.endpoint, self.sandbox.path)

    def leave(self) -> None:
        self.net.driver.leave(self.net.spec, self.endpoint, self.sandbox.path)

    def joined(self) -> Joined:
        network = self.net.spec.id
        return Joined(network=network, endpoint=self.endpoint, sandbox=self.sandbox.path, ports=tuple(self.ports))


def awake(place: Place) -> Place:
    """As soon as a neighbour reaches it: silence before that would prove nothing, a new link takes its time."""
    neighbour = place.net.join()
    with Server(place.sandbox, 79):
        assert ask(neighbour.sandbox, place.address, 79), "two endpoints of one network do not reach one another"
    neighbour.leave()
    return place
