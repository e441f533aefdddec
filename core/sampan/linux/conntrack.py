"""Connection tracking: making the kernel forget flows (conntrack(8); Linux nfnetlink_conntrack.h).

The first packet of a flow decides where all of it is translated to. UDP has no end that the kernel could see: a client
that goes on sending keeps its flow at an address that is nobody's any more, until it is forgotten.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection

from sampan.linux.netlink import NLM_F_DUMP, Message, Netlink, attribute, attributes, nested, number

_NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE_ORIG, _FILTER = 1, 25
_TUPLE_PROTO = 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_FILTER_ORIG_FLAGS, _FILTER_REPLY_FLAGS = 1, 2
_BY_PROTOCOL_AND_PORT = 1 << 3 | 1 << 5
_HEADER = 4  # struct nfgenmsg


def forget_udp(ports: Collection[int]) -> int:
    """Forget all UDP flows whose first packet went to one of ``ports``, whatever the address; how many there were.

    Kernels before 5.8 cannot search: there all flows are listed.
    """
    forgotten = 0
    with Netlink(_NETLINK_NETFILTER) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in ports:
                flows = netlink.ask(Message(_GET, NLM_F_DUMP, _search(family, port), "listing UDP flows"))
                tuples = [attributes(flow, _HEADER).get(_TUPLE_ORIG, b"") for flow in flows]
                ours = [one for one in tuples if _target(one) == (socket.IPPROTO_UDP, port)]
                results = netlink.attempt(*(_removal(family, one) for one in ours))
                forgotten += results.count(None)
    return forgotten


def _search(family: int, port: int) -> bytes:
    target = nested(
        _TUPLE_PROTO,
        attribute(_PROTO_NUM, bytes([socket.IPPROTO_UDP])),
        attribute(_PROTO_DST_PORT, struct.pack("!H", port)),
    )
    flags = number(_FILTER_ORIG_FLAGS, _BY_PROTOCOL_AND_PORT) + number(_FILTER_REPLY_FLAGS, 0)
    return _head(family) + nested(_TUPLE_ORIG, target) + nested(_FILTER, flags)


def _target(flow: bytes) -> tuple[int, int]:
    fields = attributes(attributes(flow).get(_TUPLE_PROTO, b""))
    protocol = fields.get(_PROTO_NUM, b"\0")[0]
    return protocol, int.from_bytes(fields.get(_PROTO_DST_PORT, b""), "big")


def _removal(family: int, flow: bytes) -> Message:
    return Message(_DELETE, 0, _head(family) + nested(_TUPLE_ORIG, flow), "forgetting a UDP flow")


def _head(family: int) -> bytes:
    return bytes([family, 0, 0, 0])
