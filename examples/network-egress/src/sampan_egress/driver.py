"""The egress network driver: a bridge per network, a veth pair per container, and a list of what may be reached."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import threading
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from sampan.drivers import NetworkDriver
from sampan.drivers.network import Joined
from sampan.drivers.types import Check, EndpointSpec, Host, NetworkFeatures, NetworkSpec
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unsupported
from sampan.linux import links, netns, nftables, sysctl
from sampan.linux.netlink import Netlink
from sampan_egress import rules
from sampan_egress.allowed import Allowed, Seen, check

log = logging.getLogger(__name__)

ALLOW = "allow"
_MTU = 1500
_NEIGHBOURS = "fe80::1/64"  # the host looks for an IPv6 neighbour from such an address, or not at all (RFC 4861 4.3)


class Egress(NetworkDriver):
    contract = 1

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
        """``allow``: what every such network reaches. ``refresh``, ``keep``: seconds (see the README)."""

        allow: tuple[str, ...] = ()
        refresh: Annotated[float, msgspec.Meta(gt=0)] = 60
        keep: Annotated[float, msgspec.Meta(ge=0)] = 3600

        def __post_init__(self) -> None:
            for entry in self.allow:
                try:
                    check(entry)
                except Invalid as error:
                    raise ValueError(error.message) from None

    options: Options

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._group = zlib.crc32(f"sampan/egress/{host.instance}".encode()) or 1
        self._lock = threading.Lock()
        self._lists: dict[str, tuple[str, Allowed]] = {}  # networks' ids and lists, by the table's name
        self._refreshing: threading.Thread | None = None

    def check(self) -> Check:
        if os.geteuid():
            return Check(False, "links and the firewall need root: run the daemon as root")
        if not nftables.available():
            return Check(False, nftables.MISSING)
        return Check(True)

    def features(self) -> NetworkFeatures:
        return NetworkFeatures(sandbox="own", addresses=True, names=True, filters=True)

    def validate(self, network: NetworkSpec) -> None:
        if unknown := sorted(network.options.keys() - {ALLOW}):
            raise Invalid(f"network driver {network.driver!r} knows no option {unknown[0]!r}; it knows {ALLOW}")
        for entry in _entries(network):
            check(entry)
        if not network.subnets:
            raise Invalid(f"network {network.name!r} needs a subnet")

    def create_network(self, network: NetworkSpec) -> None:
        name, table = self._bridge(network), rules.table(self.host.instance, network.id)
        with contextlib.ExitStack() as undo, Netlink() as netlink:
            if links.link(netlink, name) is None:
                undo.callback(self.remove_network, network)
                mac = "02:42:" + bytes.fromhex(network.id[:8]).hex(":")
                netlink.run(links.bridge(name, mac=mac, group=self._group, mtu=_MTU))
                with contextlib.suppress(Unsupported):  # a kernel without IPv6
                    netlink.run(links.no_link_local(name))
            bridge = links.link(netlink, name)
            if bridge is None:
                raise NotFound(f"the bridge {name!r} vanished while it was made")
            netlink.run(links.change(name, up=True), *(links.address(bridge.index, each) for each in _own(network)))
            self._filter(table, network)
            if not network.internal:
                sysctl.write("net/ipv4/ip_forward", "1")
                if any(":" in each.subnet for each in network.subnets):
                    sysctl.forward_ipv6()
            undo.pop_all()

    def remove_network(self, network: NetworkSpec) -> None:
        table = rules.table(self.host.instance, network.id)
        with self._lock:
            self._lists.pop(table, None)
        self._memory(network.id).unlink(missing_ok=True)
        with Netlink() as netlink:
            _gone(netlink, self._bridge(network))
        with contextlib.closing(nftables.open_nftables()) as nft:
            nft.run(f"add table inet {table}\ndelete table inet {table}\n")

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is None:
            raise Unsupported(f"driver {network.driver!r} puts nobody into the host's own network namespace")
        ours, bridge = self._link(endpoint), self._bridge(network)
        with Netlink() as netlink, _opened(sandbox) as namespace, contextlib.ExitStack() as undo:
            above = links.link(netlink, bridge)
            if above is None:
                raise NotFound(f"network {network.name!r} has lost its bridge {bridge!r}")
            pair = {"master": above.index, "group": self._group, "mtu": _MTU, "peer_mac": endpoint.mac}
            try:
                netlink.run(links.veth(ours, endpoint.interface, namespace, **pair))
            except Conflict as error:
                raise Conflict(f"the interface name {endpoint.interface!r} is taken in the container") from error
            undo.callback(_gone, netlink, ours)
            _configure(network, endpoint, namespace)
            undo.pop_all()

    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        def inside() -> None:
            with Netlink() as netlink:
                link = links.link(netlink, endpoint.interface)
                if link is None:
                    raise NotFound(f"the link {endpoint.interface!r} is not in the container any more")
                if endpoint.default_route:
                    netlink.run(*(links.route(link.index, gateway) for gateway in _gateways(network, endpoint)))
                    return
                for failure in netlink.attempt(*(links.no_default_route(link.index, version) for version in (4, 6))):
                    if failure and not isinstance(failure, NotFound):
                        raise failure

        if sandbox is not None and not network.internal:
            netns.inside(sandbox, inside)

    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        with Netlink() as netlink:
            _gone(netlink, self._link(endpoint))

    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        known = [one for one in joined if one.network in networks]
        names = {self._bridge(network) for network in networks.values()} | {self._link(one.endpoint) for one in known}
        with Netlink() as netlink:
            for link in links.links(netlink).values():
                if link.group == self._group and link.name not in names:
                    _gone(netlink, link.name)
            self._remove_tables({rules.table(self.host.instance, network) for network in networks})
            for file in self.host.data_root.glob("*.json"):
                if file.stem not in networks:
                    file.unlink(missing_ok=True)
            for network in networks.values():
                self.create_network(network)
            for one in known:
                bridge, link = (
                    links.link(netlink, self._bridge(networks[one.network])),
                    links.link(netlink, self._link(one.endpoint)),
                )
                if link is None:
                    self.join(networks[one.network], one.endpoint, one.sandbox)
                elif bridge and link.master != bridge.index:
                    netlink.run(links.enslave(link.name, bridge.index))

    # ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _filter(self, table: str, network: NetworkSpec) -> None:
        memory = self._memory(network.id)
        allowed = Allowed([*self.options.allow, *_entries(network)], self.options.keep, seen=_read(memory))
        allowed.refresh()
        _write(memory, allowed)
        with self._lock, contextlib.closing(nftables.open_nftables()) as nft:
            nft.run(rules.whole(table, network, self._bridge(network), allowed))
            self._lists[table] = (network.id, allowed)
            if allowed.names and self._refreshing is None:
                arguments = (weakref.ref(self), self.options.refresh)
                self._refreshing = threading.Thread(target=_refresh, args=arguments, name="egress", daemon=True)
                self._refreshing.start()

    def refresh(self) -> None:
        """Look all names up again, and tell the kernel."""
        for table, (network, allowed) in list(self._lists.items()):
            before = [allowed.subnets(version) for version in (4, 6)]
            allowed.refresh()
            if [allowed.subnets(version) for version in (4, 6)] == before:
                continue
            with self._lock, contextlib.closing(nftables.open_nftables()) as nft:
                if table in self._lists:
                    nft.run(rules.sets(table, allowed))
                    _write(self._memory(network), allowed)

    def _remove_tables(self, known: set[str]) -> None:
        mine = rules.table(self.host.instance, "")
        with contextlib.closing(nftables.open_nftables()) as nft:
            tables = [each["table"] for each in nft.list("tables") if "table" in each]
            for each in tables:
                if each["family"] == "inet" and each["name"].startswith(mine) and each["name"] not in known:
                    nft.run(f"delete table inet {each['name']}\n")

    def _memory(self, network: str) -> Path:
        """Where the addresses of the list's names are kept: a daemon that is started when no resolver answers must not
        cut off containers that run."""
        return self.host.data_root / f"{network}.json"

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _bridge(self, network: NetworkSpec) -> str:
        """At most 15 characters: the group, which is made of the whole instance, tells for sure whose it is."""
        return f"se{self.host.instance[:4]}-{network.id[:8]}"

    def _link(self, endpoint: EndpointSpec) -> str:
        return f"ve{self.host.instance[:4]}-{endpoint.id[:8]}"


def _refresh(driver: weakref.ref[Egress], seconds: float) -> None:
    """Until the driver is gone."""
    wait = threading.Event()
    while not wait.wait(seconds):
        one = driver()
        if one is None:
            return
        try:
            one.refresh()
        except (SampanError, OSError) as error:
            log.error("what the egress networks may reach could not be renewed: %s", error)
        del one


def _read(memory: Path) -> Seen:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Seen)
    except (OSError, msgspec.DecodeError):  # a first start, or not ours: names are looked up anyway
        return {}


def _write(memory: Path, allowed: Allowed) -> None:
    if not allowed.names:
        return
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(allowed.seen))
    fresh.replace(memory)


def _entries(network: NetworkSpec) -> list[str]:
    return [entry for entry in network.options.get(ALLOW, "").replace(",", " ").split() if entry]


def _own(network: NetworkSpec) -> list[str]:
    """The bridge's addresses: the containers' next hop."""
    if network.internal:
        return []
    own = [f"{one.gateway}/{one.subnet.rpartition('/')[2]}" for one in network.subnets if one.gateway]
    return [*own, _NEIGHBOURS] if any(":" in each for each in own) else own


def _configure(network: NetworkSpec, endpoint: EndpointSpec, namespace: int) -> None:
    def inside() -> None:
        if any(":" in address for address in endpoint.addresses):
            sysctl.write(f"net/ipv6/conf/{endpoint.interface}/accept_dad", "0")
            sysctl.write(f"net/ipv6/conf/{endpoint.interface}/disable_ipv6", "0")
        with Netlink() as netlink:
            link = links.link(netlink, endpoint.interface)
            if link is None:
                raise NotFound(f"the link {endpoint.interface!r} vanished from the container while it was made")
            netlink.run(links.change(endpoint.interface, up=True))
            netlink.run(*(links.address(link.index, each) for each in endpoint.addresses))
            if endpoint.default_route:
                netlink.run(*(links.route(link.index, gateway) for gateway in _gateways(network, endpoint)))

    netns.inside(namespace, inside)


def _gateways(network: NetworkSpec, endpoint: EndpointSpec) -> list[str]:
    """Of the subnets that the endpoint's addresses are from; an internal network has no use for any."""
    own = [] if network.internal else [ipaddress.ip_interface(address) for address in endpoint.addresses]
    homes = [one for one in network.subnets if one.gateway]
    return [one.gateway for one in homes if any(each in ipaddress.ip_network(one.subnet) for each in own)]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _gone(netlink: Netlink, name: str) -> None:
    with contextlib.suppress(NotFound):
        netlink.run(links.remove(name))
