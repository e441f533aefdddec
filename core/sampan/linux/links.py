"""Links, addresses and routes as netlink messages (rtnetlink(7); Linux include/uapi/linux/{if_link,rtnetlink}.h).

The first half makes messages for :meth:`Netlink.run`, any number of which go in one batch; the second half asks.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from dataclasses import dataclass

from sampan.errors import NotFound
from sampan.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Netlink,
    attribute,
    attributes,
    first_attribute,
    nested,
    number,
    text,
)

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 26, 27, 28, 29
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_MACVLAN_MODE, _IPVLAN_MODE, _IPVLAN_FLAGS, _VLAN_ID = 1, 1, 2, 1
_BRPORT_HAIRPIN, _BRPORT_ISOLATED = 4, 33
_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_RTEXT_FILTER_SKIP_STATS = 8

_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_RT_TABLE_LOCAL, _RTN_LOCAL, _LAST = 255, 2, 1 << 20  # after every route of the kernel's own
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 254, 3, 0, 253, 1
_RT_SCOPE_NOWHERE = 255  # when something is removed: whatever its scope

IFF_UP = 0x1
NAME_MAX = 15
"""Bytes in a link's name (IFNAMSIZ without the final zero)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
"""The kernel's numbers for what ip-link(8) calls by these names."""

_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg
_IFADDR = struct.Struct("=BBBBi")  # struct ifaddrmsg
_RTMSG = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NEW = NLM_F_CREATE | NLM_F_EXCL


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. ``master`` is the index of the bridge it is a port of, or 0; ``kind`` is ``veth``, …"""

    index: int
    name: str
    kind: str
    master: int
    group: int
    mtu: int
    mac: str
    up: bool


def veth(
    name: str, peer: str, namespace: int, *, master: int, group: int, mtu: int, peer_mac: str = "", mac: str = ""
) -> Message:
    """A pair of links: ``name`` here, up, as a port of the bridge ``master``; ``peer`` in another namespace, down.

    (The kernel brings neither end up before the other is there, and it makes the peer first.)
    ``namespace`` is a descriptor of that network namespace, which must stay open until the message was run.
    """
    inside = [text(_IFLA_IFNAME, peer), number(_IFLA_MTU, mtu), number(_IFLA_NET_NS_FD, namespace), *_mac(peer_mac)]
    data = nested(_INFO_DATA, nested(_VETH_INFO_PEER, _info(), *inside))
    body = [
        _info(up=True),
        text(_IFLA_IFNAME, name),
        number(_IFLA_MTU, mtu),
        number(_IFLA_GROUP, group),
        number(_IFLA_MASTER, master),
        *_mac(mac),
        nested(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), data),
    ]
    return Message(_NEWLINK, _NEW, b"".join(body), f"making the link {peer!r} by way of {name!r}")


def bridge(name: str, *, mac: str, group: int, mtu: int) -> Message:
    """A bridge, up. Its address is given, for otherwise it changes with the ports that come and go."""
    body = [
        _info(up=True),
        text(_IFLA_IFNAME, name),
        number(_IFLA_MTU, mtu),
        number(_IFLA_GROUP, group),
        *_mac(mac),
        nested(_IFLA_LINKINFO, text(_INFO_KIND, "bridge")),
    ]
    return Message(_NEWLINK, _NEW, b"".join(body), f"making the bridge {name!r}")


def macvlan(
    name: str, parent: int, namespace: int, *, mode: str, group: int, mtu: int | None = None, mac: str = ""
) -> Message:
    """A link with a MAC address of its own on the link with the index ``parent``, down, in another namespace."""
    data = nested(_INFO_DATA, number(_MACVLAN_MODE, MACVLAN_MODES[mode]))
    return _upper("macvlan", name, parent, namespace, data, group=group, mtu=mtu, mac=mac)


def ipvlan(
    name: str, parent: int, namespace: int, *, mode: str, flag: str, group: int, mtu: int | None = None
) -> Message:
    """A link with the MAC address of the link with the index ``parent``, down, in another namespace.

    The mode is that of all such links on the parent: the kernel changes the others', too.
    """
    numbers = ((_IPVLAN_MODE, IPVLAN_MODES[mode]), (_IPVLAN_FLAGS, IPVLAN_FLAGS[flag]))
    data = nested(_INFO_DATA, *(attribute(kind, struct.pack("=H", value)) for kind, value in numbers))
    return _upper("ipvlan", name, parent, namespace, data, group=group, mtu=mtu)


def vlan(name: str, parent: int, ident: int, *, group: int) -> Message:
    """What comes tagged with the VLAN ``ident`` over the link with the index ``parent``, as a link, up."""
    body = [
        _info(up=True),
        text(_IFLA_IFNAME, name),
        number(_IFLA_GROUP, group),
        number(_IFLA_LINK, parent),
        nested(
            _IFLA_LINKINFO,
            text(_INFO_KIND, "vlan"),
            nested(_INFO_DATA, attribute(_VLAN_ID, struct.pack("=H", ident))),
        ),
    ]
    return Message(_NEWLINK, _NEW, b"".join(body), f"making the VLAN link {name!r}")


def sink(name: str, *, kind: str, group: int) -> Message:
    """A link, up, that leads nowhere and never brings anything: ``dummy``, or ``ifb``, which without a redirection
    is the same."""
    body = [
        _info(up=True),
        text(_IFLA_IFNAME, name),
        number(_IFLA_GROUP, group),
        nested(_IFLA_LINKINFO, text(_INFO_KIND, kind)),
    ]
    return Message(_NEWLINK, _NEW, b"".join(body), f"making the {kind} link {name!r}")


def change(name: str, *, mtu: int | None = None, group: int | None = None, up: bool = True) -> Message:
    """Set a link up (or down), its MTU and its group."""
    body = [_info(up=up), text(_IFLA_IFNAME, name)]
    body += [number(_IFLA_MTU, mtu)] if mtu is not None else []
    body += [number(_IFLA_GROUP, group)] if group is not None else []
    return Message(_NEWLINK, 0, b"".join(body), f"changing the link {name!r}")


def enslave(name: str, master: int) -> Message:
    """Make a link, up, a port of the bridge with the index ``master``."""
    body = _info(up=True) + text(_IFLA_IFNAME, name) + number(_IFLA_MASTER, master)
    return Message(_NEWLINK, 0, body, f"making {name!r} a port of its bridge")


def no_link_local(name: str) -> Message:
    """Let the link have no IPv6 address of its own making."""
    inet6 = nested(socket.AF_INET6, attribute(_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE])))
    body = _info() + text(_IFLA_IFNAME, name) + nested(_IFLA_AF_SPEC, inet6)
    return Message(_NEWLINK, 0, body, f"keeping {name!r} from making IPv6 addresses of its own")


def port(name: str, *, hairpin: bool = False, isolated: bool = False) -> Message:
    """How a bridge's port behaves: ``hairpin`` sends frames back where they came from; ``isolated`` ports reach
    the bridge itself and no other isolated port (bridge(8))."""
    data = [attribute(_BRPORT_HAIRPIN, bytes([hairpin])), attribute(_BRPORT_ISOLATED, bytes([isolated]))]
    slave = text(_INFO_SLAVE_KIND, "bridge") + nested(_INFO_SLAVE_DATA, *data)
    body = _info() + text(_IFLA_IFNAME, name) + nested(_IFLA_LINKINFO, slave)
    return Message(_NEWLINK, 0, body, f"setting up the bridge port {name!r}")


def remove(name: str) -> Message:
    """Remove a link, and its peer with it."""
    return Message(_DELLINK, 0, _info() + text(_IFLA_IFNAME, name), f"removing the link {name!r}")


def address(index: int, interface: str) -> Message:
    """Give the link an address, in ``address/prefix`` notation; without duplicate address detection.

    Done again for the same address it changes nothing.
    """
    parsed = ipaddress.ip_interface(interface)
    flags = _IFA_F_NODAD if parsed.version == 6 else 0
    head = _IFADDR.pack(_family(parsed.version), parsed.network.prefixlen, flags, _RT_SCOPE_UNIVERSE, index)
    packed = parsed.ip.packed
    body = head + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return Message(_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"adding the address {interface}")


def remove_address(index: int, interface: str) -> Message:
    parsed = ipaddress.ip_interface(interface)
    head = _IFADDR.pack(_family(parsed.version), parsed.network.prefixlen, 0, 0, index)
    return Message(_DELADDR, 0, head + attribute(_IFA_LOCAL, parsed.ip.packed), f"removing the address {interface}")


def route(index: int, gateway: str, destination: str = "") -> Message:
    """A route by way of ``gateway`` (``""``: directly on the link) to ``destination``, or the default route."""
    via = ipaddress.ip_address(gateway) if gateway else None
    to = ipaddress.ip_network(destination) if destination else None
    version = via.version if via else to.version if to else 4
    length = to.prefixlen if to else 0
    scope = _RT_SCOPE_UNIVERSE if via else _RT_SCOPE_LINK
    head = _RTMSG.pack(_family(version), length, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    body = head + (attribute(_RTA_DST, to.network_address.packed) if to else b"") + number(_RTA_OIF, index)
    body += attribute(_RTA_GATEWAY, via.packed) if via else b""
    what = f"adding the route to {destination or 'the world'} by way of {gateway or 'the link'}"
    return Message(_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, what)


def own_loopback_6(index: int) -> Message:
    """Let what is for ::1 be the host's own when it comes out of a translation on the link, as an answer to the host.

    Frames that say ::1 themselves never get so far: the kernel drops them on every link but the loopback.
    """
    head = _RTMSG.pack(socket.AF_INET6, 128, 0, 0, _RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_LOCAL, 0)
    packed = ipaddress.ip_address("::1").packed
    body = head + attribute(_RTA_DST, packed) + number(_RTA_OIF, index) + number(_RTA_PRIORITY, _LAST + index)
    return Message(_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, "letting ::1 be found from a link")


def no_default_route(index: int, version: int) -> Message:
    """Remove a default route through the link from the main table; ``NotFound`` if there is none."""
    head = _RTMSG.pack(_family(version), 0, 0, 0, _RT_TABLE_MAIN, 0, _RT_SCOPE_NOWHERE, 0, 0)
    return Message(_DELROUTE, 0, head + number(_RTA_OIF, index), "removing the route to the world")


def link(netlink: Netlink, name: str) -> Link | None:
    """The link of that name, or None."""
    body = _info() + text(_IFLA_IFNAME, name) + number(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    try:
        return _link(netlink.ask(Message(_GETLINK, 0, body, f"looking for the link {name!r}"))[0])
    except NotFound:
        return None


def links(netlink: Netlink) -> dict[str, Link]:
    """Every link of the namespace, by name."""
    body = _info() + number(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    found = map(_link, netlink.ask(Message(_GETLINK, NLM_F_DUMP, body, "listing links")))
    return {one.name: one for one in found}


def addresses(netlink: Netlink) -> dict[int, list[str]]:
    """The addresses of every link, by its index, in ``address/prefix`` notation."""
    found: dict[int, list[str]] = {}
    for body in netlink.ask(Message(_GETADDR, NLM_F_DUMP, _IFADDR.pack(0, 0, 0, 0, 0), "listing addresses")):
        _, prefix, _, _, index = _IFADDR.unpack_from(body)
        fields = attributes(body, _IFADDR.size)
        packed = fields.get(_IFA_LOCAL) or fields.get(_IFA_ADDRESS)
        if packed:
            found.setdefault(index, []).append(f"{ipaddress.ip_address(packed)}/{prefix}")
    return found


def routes(netlink: Netlink, version: int) -> list[Network]:
    """What the host can reach other than by default: the destinations of its main table for IP version 4 or 6."""
    found: list[Network] = []
    wanted = _RTMSG.pack(_family(version), 0, 0, 0, _RT_TABLE_MAIN, 0, 0, _RTN_UNICAST, 0)
    for body in netlink.ask(Message(_GETROUTE, NLM_F_DUMP, wanted, "listing routes")):
        _, length, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(body)
        if table != _RT_TABLE_MAIN or kind != _RTN_UNICAST or not length:
            continue  # most are: a look into them all would take longer than the listing
        if destination := first_attribute(body, _RTMSG.size, _RTA_DST):
            found.append(_destination(destination, length))
    return found


@functools.lru_cache(4096)
def _destination(address: bytes, length: int) -> Network:
    """Routes are listed again and again, and reckoning with addresses takes longer than that."""
    return ipaddress.ip_network((address, length), strict=False)


def _upper(
    kind: str, name: str, parent: int, namespace: int, data: bytes, *, group: int, mtu: int | None, mac: str = ""
) -> Message:
    """A link that stands on another one, which is here, and is itself in the namespace with that descriptor."""
    body = [
        _info(),
        text(_IFLA_IFNAME, name),
        number(_IFLA_GROUP, group),
        number(_IFLA_LINK, parent),
        number(_IFLA_NET_NS_FD, namespace),
        *([number(_IFLA_MTU, mtu)] if mtu else []),
        *_mac(mac),
        nested(_IFLA_LINKINFO, text(_INFO_KIND, kind), data),
    ]
    return Message(_NEWLINK, _NEW, b"".join(body), f"making the {kind} link {name!r}")


def _info(*, index: int = 0, up: bool | None = None) -> bytes:
    return _IFINFO.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)


def _mac(address: str) -> list[bytes]:
    return [attribute(_IFLA_ADDRESS, bytes.fromhex(address.replace(":", "")))] if address else []


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    fields = attributes(body, _IFINFO.size)

    def integer(kind: int) -> int:
        return int(struct.unpack("=I", fields[kind])[0]) if kind in fields else 0

    kind = attributes(fields.get(_IFLA_LINKINFO, b"")).get(_INFO_KIND, b"")
    return Link(
        index=index,
        name=fields[_IFLA_IFNAME].rstrip(b"\0").decode(),
        kind=kind.rstrip(b"\0").decode(),
        master=integer(_IFLA_MASTER),
        group=integer(_IFLA_GROUP),
        mtu=integer(_IFLA_MTU),
        mac=fields.get(_IFLA_ADDRESS, b"").hex(":"),
        up=bool(flags & IFF_UP),
    )
