"""``bridge``: a Linux bridge per network, a veth pair per endpoint, and the way out and in by the firewall.

Making a network with a way out turns on forwarding for the whole host (``net.ipv4.ip_forward``, and
``net.ipv6.conf.all.forwarding`` for networks with IPv6): packets do not leave a bridge otherwise. It is never turned
off again, for somebody else may have come to rely on it.

Links carry four characters of the instance in their names (fifteen are all that the kernel has room for), and a
number made of the whole of it as their group (``ip link show group N``): that is how ``restore`` knows its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from sampan.drivers import NetworkDriver
from sampan.drivers.network import Joined
from sampan.drivers.steps import step
from sampan.drivers.types import Check, EndpointSpec, Finding, Host, NetworkFeatures, NetworkSpec, PortBinding
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unsupported
from sampan.linux import links, sysctl
from sampan.linux.netlink import Netlink
from sampan.linux.setelements import Element
from sampan_network import flows, inside, probe
from sampan_network.elements import of_network, of_port, reached
from sampan_network.examining import Made, examine
from sampan_network.firewall import Firewall
from sampan_network.keeper import Keeper, keep
from sampan_network.settings import ISOLATED, KNOWN, Settings, parse
from sampan_network.values import LARGEST_MTU, SMALLEST_MTU

log = logging.getLogger(__name__)

_LINK_LOCAL = "fe80::1/64"  # the kernel looks for a neighbour from such an address, or not at all (RFC 4861 4.3)
_BRIDGED_FRAMES = Path("/proc/sys/net/bridge")
_INSTANCE, _ID = 4, 8  # characters of each in a link's name


class Bridge(NetworkDriver):
    owner = "bridge"
    prefix = "b"

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        """``mtu``: bytes, for networks that do not say otherwise."""

        mtu: Annotated[int, msgspec.Meta(ge=SMALLEST_MTU, le=LARGEST_MTU)] = 1500

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._group = zlib.crc32(f"sampan/{self.owner}/{host.instance}".encode()) or 1
        self._firewall = Firewall(host.instance, self.owner)
        self._netlink: Netlink | None = None
        self._keeper: Keeper | None = None

    def check(self) -> Check:
        return probe.check()

    def features(self) -> NetworkFeatures:
        return NetworkFeatures(sandbox="own", addresses=True, publish=True, names=True, options=KNOWN)

    def validate(self, network: NetworkSpec) -> None:
        parse(network)
        if not network.subnets:
            raise Invalid(f"network {network.name!r} needs a subnet: driver {network.driver!r} gives its own to nobody")

    def create_network(self, network: NetworkSpec) -> None:
        with contextlib.ExitStack() as undo:
            if links.link(self._host(), self.bridge_name(network)) is None:
                undo.callback(self.remove_network, network)
            self._make_bridge(network)
            self._firewall.add(self._elements(network))
            self._open_ways(network)
            undo.pop_all()

    def remove_network(self, network: NetworkSpec) -> None:
        netlink, name = self._host(), self.bridge_name(network)
        found = links.link(netlink, name)
        if found:
            if not self._is_bridge_of(found, network):
                return  # the name, and what the firewall knows under it, are somebody else's
            _gone(netlink, name)
        self._firewall.remove(self._elements(network))
        self._firewall.remove_table()

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is None:
            raise Unsupported(f"driver {network.driver!r} puts nobody into the host's own network namespace")
        netlink, ours = self._host(), self.link_name(endpoint)
        bridge = links.link(netlink, self.bridge_name(network))
        if bridge is None:
            raise NotFound(f"network {network.name!r} has lost its bridge {self.bridge_name(network)!r}")
        namespace = os.open(sandbox, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with step("make a pair of links", "veth", f"{ours} on {bridge.name}, {endpoint.interface} inside"):
                self._make_pair(netlink, network, endpoint, bridge, namespace)
            with contextlib.ExitStack() as undo, step("give it addresses and routes", "link", endpoint.interface):
                undo.callback(_gone, netlink, ours)
                sealed = self._sealed(network)
                ways = [] if sealed else inside.gateways(network, endpoint)
                near = inside.neighbours(network, endpoint)
                inside.furnish(namespace, endpoint, ways, near, dead_end=sealed)
                undo.pop_all()
        finally:
            os.close(namespace)

    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        _gone(self._host(), self.link_name(endpoint))

    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is None or self._sealed(network):
            return

        with step("give or take its default route", "link", endpoint.interface):
            inside.reroute(sandbox, endpoint, inside.gateways(network, endpoint))

    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        elements = [(port, element) for port in ports for element in self._published(network, endpoint, port)]
        for port, element in elements:
            if self._firewall.value(element.set, element.key) not in (None, element.value):
                raise Conflict(f"Bind for {_place(port)} failed: port is already allocated")
        with step("add to the firewall", "nft element", ", ".join(f"{one.set} {one.key}" for _, one in elements)):
            self._firewall.add(element for _, element in elements)
        flows.forget(ports)

    def unpublish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        self._firewall.remove(element for port in ports for element in self._published(network, endpoint, port))
        flows.forget(ports)

    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        known = [one for one in joined if one.network in networks]
        bridges = {self.bridge_name(network): network for network in networks.values()}
        ports = {self.link_name(one.endpoint) for one in known}
        present = links.links(self._host())
        for link in present.values():
            known_bridge = link.name in bridges and self._is_bridge_of(link, bridges[link.name])
            if link.group == self._group and link.name not in ports and not known_bridge:
                _gone(self._host(), link.name)
        elements = [element for network in networks.values() for element in self._elements(network)]
        for one in known:
            network = networks[one.network]
            elements += [element for port in one.ports for element in self._published(network, one.endpoint, port)]
        self._firewall.replace(elements)
        for network in networks.values():
            with _reported(f"network {network.name!r}"):
                self.create_network(network)
        for one in known:
            with _reported(f"container {one.endpoint.container[:12]} on network {networks[one.network].name!r}"):
                self._rejoin(networks[one.network], one, present)
        if not elements:
            self._firewall.remove_table()
        if self._keeper is None:
            self._keeper = keep(self, self._firewall)

    def examine(
        self, network: NetworkSpec, endpoint: EndpointSpec | None = None, ports: Sequence[PortBinding] = ()
    ) -> Sequence[Finding]:
        sealed = self._sealed(network)
        made = Made(
            network=network.name,
            bridge=self.bridge_name(network),
            link=self.link_name(endpoint) if endpoint else "",
            sealed=sealed,
            gateways=[one for one in self._own_addresses(network) if one != _LINK_LOCAL],
            elements=list(self._elements(network)),
            ports=[
                (f"{_place(port)}/{port.protocol}", element)
                for port in ports
                for element in (self._published(network, endpoint, port) if endpoint else ())
            ],
        )
        return examine(self._host(), self._firewall, made)

    def bridge_name(self, network: NetworkSpec) -> str:
        return parse(network).bridge or f"s{self.prefix}{self.host.instance[:_INSTANCE]}-{network.id[:_ID]}"

    def link_name(self, endpoint: EndpointSpec) -> str:
        """The host's end of the endpoint's pair."""
        return f"v{self.prefix}{self.host.instance[:_INSTANCE]}-{endpoint.id[:_ID]}"

    def _host(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink

    def _sealed(self, network: NetworkSpec) -> bool:
        return network.internal or self.owner == "internal"

    def _mtu(self, settings: Settings) -> int:
        default: int = getattr(self.options, "mtu", 1500)
        return settings.mtu or default

    def _elements(self, network: NetworkSpec) -> Iterator[Element]:
        name = self.bridge_name(network)
        return of_network(self.owner, network, name, parse(network), sealed=self._sealed(network))

    def _published(self, network: NetworkSpec, endpoint: EndpointSpec, port: PortBinding) -> list[Element]:
        return of_port(parse(network), endpoint, port)

    def _make_bridge(self, network: NetworkSpec) -> None:
        netlink, name, mtu = self._host(), self.bridge_name(network), self._mtu(parse(network))
        found = links.link(netlink, name)
        if found and not self._is_bridge_of(found, network):
            raise Conflict(f"network {network.name!r} cannot have the bridge {name!r}: there is another link so called")
        if found is None:
            netlink.run(links.bridge(name, mac=_bridge_mac(network), group=self._group, mtu=mtu))
            with contextlib.suppress(Unsupported):  # a kernel without IPv6 has none
                netlink.run(links.no_link_local(name))
            found = links.link(netlink, name)
        if found is None:
            raise NotFound(f"the bridge {name!r} vanished while it was made")
        own = [links.address(found.index, address) for address in self._own_addresses(network)]
        netlink.run(links.change(name, mtu=mtu, up=True), *own)
        if any(":" in address for address in self._own_addresses(network)) and not self._sealed(network):
            netlink.run(links.own_loopback_6(found.index))

    def _own_addresses(self, network: NetworkSpec) -> list[str]:
        """The bridge's own: the containers' next hop, and where the host speaks to them from."""
        settings = parse(network)
        if self._sealed(network) and not reached(self.owner, settings):
            return []
        lengths = [(one.gateway, one.subnet.rpartition("/")[2]) for one in network.subnets if one.gateway]
        own = [f"{gateway}/{length}" for gateway, length in lengths if settings.mode(gateway) != ISOLATED]
        own = [address for address in own if settings.gateway or ":" in address]
        return [*own, _LINK_LOCAL] if any(":" in address for address in own) else own

    def _is_bridge_of(self, link: links.Link, network: NetworkSpec) -> bool:
        return link.group == self._group and link.mac == _bridge_mac(network)

    def _open_ways(self, network: NetworkSpec) -> None:
        if self._sealed(network):
            return
        sysctl.write("net/ipv4/ip_forward", "1")
        sysctl.write(f"net/ipv4/conf/{self.bridge_name(network)}/route_localnet", "1")
        if any(":" in subnet.subnet for subnet in network.subnets):
            sysctl.forward_ipv6()

    def _make_pair(
        self, netlink: Netlink, network: NetworkSpec, endpoint: EndpointSpec, bridge: links.Link, namespace: int
    ) -> None:
        ours, settings = self.link_name(endpoint), parse(network)
        pair = links.veth(
            ours,
            endpoint.interface,
            namespace,
            master=bridge.index,
            group=self._group,
            mtu=self._mtu(settings),
            peer_mac=endpoint.mac,
        )
        # Where bridged frames pass the firewall (br_netfilter), a container's way to its own published port leaves the
        # bridge by the port it came in by. An isolated port then keeps neighbours from published ports, too; a rule in
        # its place would let everything pass as soon as somebody turns br_netfilter off.
        port = links.port(ours, isolated=not settings.icc, hairpin=_BRIDGED_FRAMES.exists())
        try:
            netlink.run(pair)
            with contextlib.ExitStack() as undo:
                undo.callback(_gone, netlink, ours)
                netlink.run(port)
                undo.pop_all()
        except Conflict as error:
            if links.link(netlink, ours):
                raise
            name = endpoint.interface
            raise Conflict(
                f"network {network.name!r} cannot be joined as {name!r}: that name is taken inside"
            ) from error

    def _rejoin(self, network: NetworkSpec, one: Joined, present: Mapping[str, links.Link]) -> None:
        netlink, ours = self._host(), self.link_name(one.endpoint)
        bridge = links.link(netlink, self.bridge_name(network))
        link = links.link(netlink, ours)
        if link is None:
            self.join(network, one.endpoint, one.sandbox)
        elif bridge and (link.master != bridge.index or not link.up):
            netlink.run(links.enslave(ours, bridge.index))


def _bridge_mac(network: NetworkSpec) -> str:
    return "02:42:" + bytes.fromhex(network.id[:8]).hex(":")


def _place(port: PortBinding) -> str:
    if not port.host_port:
        return str(port.container_port)
    return f"[{port.host_ip}]:{port.host_port}" if ":" in port.host_ip else f"{port.host_ip}:{port.host_port}"


def _gone(netlink: Netlink, name: str) -> None:
    with contextlib.suppress(NotFound):
        netlink.run(links.remove(name))


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """One thing that cannot be restored must not keep the others from it."""
    try:
        yield
    except (SampanError, OSError) as error:
        log.error("%s could not be restored: %s", what, error)
