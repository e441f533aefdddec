"""What ``macvlan`` and ``ipvlan`` have in common: links in sandboxes that stand on a parent link of the host.

Containers are in the parent's network, as if each had a cable of its own to the switch. The gateway that the network
names is out there; the host itself reaches none of them, and they do not reach it, for the kernel keeps a parent and
what stands on it apart. Nothing is published and nothing translated: every port is there under the container's address.

A network without a parent, or an internal one, stands on a link that leads nowhere. That, and the link of a VLAN, are
all that is made on the host; they have the instance's group (``ip link show group N``), and so have those in sandboxes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from sampan.drivers import NetworkDriver
from sampan.drivers.network import Joined
from sampan.drivers.steps import step
from sampan.drivers.types import Check, EndpointSpec, Host, NetworkSpec
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unsupported
from sampan.linux import links, modules, netns
from sampan.linux.netlink import Message, Netlink
from sampan_network import inside, values

log = logging.getLogger(__name__)

PARENT = "parent"
_VLAN = re.compile(r"(?P<link>.+)\.(?P<ident>[0-9]{1,4})")
_LARGEST_VLAN = 4094
# The second kind is for kernels without the first. Modules that the kernel loads by itself begin with making links that
# nobody has asked for, and the host would keep them.
_SINKS = {"dummy": "numdummies=0", "ifb": "numifbs=0"}
_INSTANCE, _ID = 4, 8  # characters of each in a link's name


class Stacked(NetworkDriver):
    """``kind`` is the kernel's word for the links, ``prefix`` begins the names of those that lead nowhere."""

    kind: ClassVar[str]
    prefix: ClassVar[str]
    options_known: ClassVar[tuple[str, ...]]

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._group = zlib.crc32(f"sampan/{self.kind}/{host.instance}".encode()) or 1
        self._netlink: Netlink | None = None
        self._notes = host.exec_root / "endpoints"
        self._lock = threading.Lock()
        self._networks: dict[str, NetworkSpec] = {}

    @abstractmethod
    def link(self, network: NetworkSpec, endpoint: EndpointSpec, parent: int, namespace: int) -> Message:
        """The message that makes an endpoint's link."""

    @abstractmethod
    def check_shared(self, network: NetworkSpec, other: NetworkSpec, parent: str) -> None:
        """``Conflict`` if the two cannot stand on the same parent."""

    def check(self) -> Check:
        """Tried for real, in a network namespace that nobody sees and that is gone at once."""
        try:
            netns.throwaway(self._try)
        except PermissionError:
            return Check(False, f"{self.kind} links need root (CAP_NET_ADMIN and CAP_SYS_ADMIN)")
        except OSError as error:
            return Check(False, f"this kernel makes no network namespaces: {error.strerror}")
        except SampanError as error:
            return Check(False, error.message)
        return Check(True)

    def ways(self, network: NetworkSpec, endpoint: EndpointSpec) -> Sequence[inside.Way]:
        return inside.gateways(network, endpoint)

    def validate(self, network: NetworkSpec) -> None:
        values.check_known(network, self.options_known)
        values.mtu(network)
        if parent := network.options.get(PARENT):
            values.link(PARENT, parent)
            if parent == "lo":
                raise Invalid(f"loopback interface is not a valid {self.kind} parent link")
        if not network.subnets:
            raise Invalid(f"network {network.name!r} needs a subnet: driver {network.driver!r} gives its own to nobody")

    def create_network(self, network: NetworkSpec) -> None:
        with self._lock:
            parent = self.parent_name(network)
            for other in self._networks.values():
                if other.id != network.id and self.parent_name(other) == parent:
                    self.check_shared(network, other, parent)
            self._make_parent(network, parent)
            self._networks[network.id] = network

    def remove_network(self, network: NetworkSpec) -> None:
        with self._lock:
            self._networks.pop(network.id, None)
            parent = self.parent_name(network)
            if any(self.parent_name(other) == parent for other in self._networks.values()):
                return
            found = links.link(self._host(), parent)
            if found and found.group == self._group:
                self._gone(parent)

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is None:
            raise Unsupported(f"driver {network.driver!r} puts nobody into the host's own network namespace")
        name = self.parent_name(network)
        parent = links.link(self._host(), name)
        if parent is None:
            raise NotFound(
                f"network {network.name!r} has lost its parent link {name!r}: no link of this host is so called"
            )
        namespace = inside.descriptor(sandbox)
        try:
            self._note(endpoint, sandbox)
            with step("make a link on the parent", self.kind, f"{endpoint.interface} on {name}"):
                self._make(network, endpoint, parent, namespace)
            with contextlib.ExitStack() as undo, step("give it addresses and routes", "link", endpoint.interface):
                undo.callback(inside.remove, namespace, endpoint.interface, kind=self.kind, group=self._group)
                inside.furnish(namespace, endpoint, self._ways(network, endpoint))
                undo.pop_all()
        except BaseException:
            self._forget(endpoint.id)
            raise
        finally:
            os.close(namespace)

    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is not None:
            inside.remove(sandbox, endpoint.interface, kind=self.kind, group=self._group)
        self._forget(endpoint.id)

    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is not None:
            with step("give or take its default route", "link", endpoint.interface):
                inside.reroute(sandbox, endpoint, self._ways(network, endpoint))

    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        parents = {self.parent_name(network) for network in networks.values()}
        for link in links.links(self._host()).values():
            if link.group == self._group and link.name not in parents:
                self._gone(link.name)
        for network in networks.values():
            with _reported(f"network {network.name!r}"):
                self.create_network(network)
        known = [one for one in joined if one.network in networks]
        lost = self._noted({one.endpoint.id for one in known})
        for sandbox in {one.sandbox for one in known} | {path for path in lost.values() if path.exists()}:
            with _reported(f"the sandbox {str(sandbox)!r}"):
                self._tidy(sandbox, {one.endpoint.interface for one in known if one.sandbox == sandbox})
        for ident in lost:
            self._forget(ident)
        for one in known:
            with _reported(f"container {one.endpoint.container[:12]} on network {networks[one.network].name!r}"):
                self._rejoin(networks[one.network], one)

    def sealed(self, network: NetworkSpec) -> bool:
        """Does it lead nowhere?"""
        return network.internal or not network.options.get(PARENT)

    def parent_name(self, network: NetworkSpec) -> str:
        if self.sealed(network):
            return f"s{self.prefix}{self.host.instance[:_INSTANCE]}-{network.id[:_ID]}"
        return network.options[PARENT]

    def _try(self) -> None:
        network = NetworkSpec(id="0" * 64, name="probe", driver=self.kind)
        endpoint = EndpointSpec(id="0" * 64, container="", interface="probe")
        with Netlink() as netlink:
            make_sink(netlink, "below", self._group)
            below, here = links.link(netlink, "below"), netns.current()
            try:
                netlink.run(self.link(network, endpoint, below.index if below else 0, here))
            except Unsupported:
                raise Unsupported(f"this kernel makes no {self.kind} links (module {self.kind})") from None
            finally:
                os.close(here)

    def _host(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink

    def _ways(self, network: NetworkSpec, endpoint: EndpointSpec) -> Sequence[inside.Way]:
        return () if self.sealed(network) else self.ways(network, endpoint)

    def _make_parent(self, network: NetworkSpec, name: str) -> None:
        netlink = self._host()
        if links.link(netlink, name) is not None:
            return
        if self.sealed(network):
            make_sink(netlink, name, self._group)
            return
        vlan = _VLAN.fullmatch(name)
        below = links.link(netlink, vlan["link"]) if vlan else None
        if vlan is None or below is None:
            raise NotFound(
                f"network {network.name!r} cannot have the parent link {name!r}: this host has no link so called, and"
                " for a VLAN of one it would be the link's name, a dot and the VLAN's number, like eth0.50"
            )
        if not 1 <= int(vlan["ident"]) <= _LARGEST_VLAN:
            raise Invalid(f"the parent link {name!r} cannot be: a VLAN's number is between 1 and {_LARGEST_VLAN}")
        try:
            netlink.run(links.vlan(name, below.index, int(vlan["ident"]), group=self._group))
        except Unsupported:
            raise Unsupported(
                f"the parent link {name!r} cannot be made: this kernel has no VLANs (module 8021q)"
            ) from None

    def _make(self, network: NetworkSpec, endpoint: EndpointSpec, parent: links.Link, namespace: int) -> None:
        try:
            self._host().run(self.link(network, endpoint, parent.index, namespace))
        except (Conflict, Invalid) as error:
            name, what = endpoint.interface, f"network {network.name!r} cannot be joined as {endpoint.interface!r}"
            with netns.inside(namespace, Netlink) as inner:
                if links.link(inner, name):
                    raise Conflict(f"{what}: that name is taken inside") from error
            raise Conflict(f"{what}: its parent link {parent.name!r} takes no more: {error.message}") from error

    def _note(self, endpoint: EndpointSpec, sandbox: Path) -> None:
        """Where the endpoint's link is, for ``restore`` if nobody knows the endpoint then: links in a sandbox cannot be
        found from the host."""
        self._notes.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._notes / endpoint.id).write_text(str(sandbox))

    def _forget(self, ident: str) -> None:
        (self._notes / ident).unlink(missing_ok=True)

    def _noted(self, known: set[str]) -> dict[str, Path]:
        """The sandboxes of endpoints that are not known any more, by the endpoints' ids."""
        notes = self._notes.iterdir() if self._notes.is_dir() else ()
        return {path.name: Path(path.read_text()) for path in notes if path.name not in known}

    def _tidy(self, sandbox: Path, wanted: set[str]) -> None:
        """Remove links of this driver that were left in a sandbox by a join or leave that was cut short."""
        with netns.inside(sandbox, Netlink) as inner:
            for link in links.links(inner).values():
                if self._is_own(link) and link.name not in wanted:
                    inner.run(links.remove(link.name))

    def _rejoin(self, network: NetworkSpec, one: Joined) -> None:
        with netns.inside(one.sandbox, Netlink) as inner:
            link = links.link(inner, one.endpoint.interface)
        if link is None:
            self.join(network, one.endpoint, one.sandbox)

    def _is_own(self, link: links.Link) -> bool:
        return link.kind == self.kind and link.group == self._group

    def _gone(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            self._host().run(links.remove(name))


def make_sink(netlink: Netlink, name: str, group: int) -> None:
    """A link that leads nowhere, of the first kind that this kernel has."""
    for kind, no_others in _SINKS.items():
        modules.load(kind, no_others)
        with contextlib.suppress(Unsupported):
            netlink.run(links.sink(name, kind=kind, group=group))
            return
    raise Unsupported("this kernel makes no links that lead nowhere (module dummy): give the network a parent")


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """One thing that cannot be restored must not keep the others from it."""
    try:
        yield
    except (SampanError, OSError) as error:
        log.error("%s could not be restored: %s", what, error)
