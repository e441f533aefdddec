"""Connection tracking: making the kernel forget flows (conntrack(8); Linux nfnetlink_conntrack.h).

The first packet of a flow decides where all of it is translated to. UDP has no end that the kernel could see: a client
that goes on sending keeps its flow at an address that is nobody's any more, until it is forgotten.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address

from sampan.linux.netlink import NLM_F_DUMP, Message, Netlink, attribute, attributes, nested, number

_NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _FILTER = 1, 2, 3, 25
_SEEN_REPLY = 2  # IPS_SEEN_REPLY
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_FILTER_ORIG_FLAGS, _FILTER_REPLY_FLAGS = 1, 2
_BY_PROTOCOL, _BY_PORT = 1 << 3, 1 << 5
_HEADER = 4  # struct nfgenmsg


def forget_udp(ports: Collection[int]) -> int:
    """Forget all UDP flows whose first packet went to one of ``ports``, whatever the address; how many there were.

    Kernels before 5.8 cannot search: there all flows are listed.
    """
    forgotten = 0
    with Netlink(_NETLINK_NETFILTER) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            flows = netlink.ask(Message(_GET, NLM_F_DUMP, _search(family, ports), "listing UDP flows"))
            tuples = [attributes(flow, _HEADER).get(_TUPLE_ORIG, b"") for flow in flows]
            ours = [one for one in tuples if _target(one) in {(socket.IPPROTO_UDP, port) for port in ports}]
            forgotten += netlink.attempt(*(_removal(family, one) for one in ours)).count(None)
    return forgotten


def forget_unanswered(sources: Collection[IPv4Network | IPv6Network]) -> int:
    """Forget flows from one of ``sources`` that were not translated and have had no answer; how many there were."""
    forgotten = 0
    with Netlink(_NETLINK_NETFILTER) as netlink:
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            ours = [one for one in sources if one.version == version]
            flows = netlink.ask(Message(_GET, NLM_F_DUMP, _head(family), "listing flows")) if ours else []
            fields = [attributes(flow, _HEADER) for flow in flows]
            lost = [one[_TUPLE_ORIG] for one in fields if _TUPLE_ORIG in one and _is_lost(one, ours)]
            forgotten += netlink.attempt(*(_removal(family, one) for one in lost)).count(None)
    return forgotten


def _is_lost(flow: dict[int, bytes], sources: Collection[IPv4Network | IPv6Network]) -> bool:
    source, target = _ends(flow[_TUPLE_ORIG])
    answered = int.from_bytes(flow.get(_STATUS, b""), "big") & _SEEN_REPLY
    if answered or not source or _ends(flow.get(_TUPLE_REPLY, b"")) != (target, source):
        return False
    return any(ip_address(source) in one and ip_address(target) not in one for one in sources)


def _ends(flow: bytes) -> tuple[bytes, bytes]:
    """Where it comes from and where it goes, as packed addresses."""
    fields = attributes(attributes(flow).get(_TUPLE_IP, b""))
    return fields.get(1) or fields.get(3, b""), fields.get(2) or fields.get(4, b"")  # CTA_IP_V4_SRC, _V6_SRC; _DST


def _search(family: int, ports: Collection[int]) -> bytes:
    """For UDP, and for the port if there is but one: a search goes through all flows there are, and takes its time."""
    [port] = ports if len(ports) == 1 else [0]
    target = nested(
        _TUPLE_PROTO,
        attribute(_PROTO_NUM, bytes([socket.IPPROTO_UDP])),
        attribute(_PROTO_DST_PORT, struct.pack("!H", port)),
    )
    flags = number(_FILTER_ORIG_FLAGS, _BY_PROTOCOL | (_BY_PORT if port else 0)) + number(_FILTER_REPLY_FLAGS, 0)
    return _head(family) + nested(_TUPLE_ORIG, target) + nested(_FILTER, flags)


def _target(flow: bytes) -> tuple[int, int]:
    fields = attributes(attributes(flow).get(_TUPLE_PROTO, b""))
    protocol = fields.get(_PROTO_NUM, b"\0")[0]
    return protocol, int.from_bytes(fields.get(_PROTO_DST_PORT, b""), "big")


def _removal(family: int, flow: bytes) -> Message:
    return Message(_DELETE, 0, _head(family) + nested(_TUPLE_ORIG, flow), "forgetting a UDP flow")


def _head(family: int) -> bytes:
    return bytes([family, 0, 0, 0])
