"""Elements of nftables' sets and maps, come and gone by a netlink message of our own (Linux nf_tables.h, nfnetlink.h).

libnftables lists what is there before it changes anything: 0.7 ms for what takes the kernel 0.05, and the more, the
more there is. It also has all users in a process take turns. So what happens at every start is said to the kernel here;
tables, chains and rules, which seldom change, are :mod:`sampan.linux.nftables`' business.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from sampan.errors import Invalid
from sampan.linux.netlink import NLM_F_CREATE, Message, Netlink, attribute, nested, text
from sampan.linux.nftables import signed

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEW, _DELETE = 12, 14  # NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # NFNL_MSG_BATCH_*
_INET = 1  # NFPROTO_INET
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM = 1, 2, 3, 1  # NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM
_KEY, _DATA, _KEY_END, _VALUE = 1, 2, 10, 1  # NFTA_SET_ELEM_*, NFTA_DATA_VALUE
_NFGENMSG = struct.Struct("!BBH")
_NAME = 16  # IFNAMSIZ
_AT_ONCE = 400  # elements of a message: an attribute has room for 64 KiB
MOST = 2000
"""Elements of a transaction: more of them than fit into a socket's buffer are libnftables' business."""


class Shape(NamedTuple):
    """What a set's keys and a map's values consist of, in nft(8)'s words (``ifname``, ``ipv4_addr`` …). ``interval``:
    one component of a key may be a range of addresses."""

    key: Sequence[str]
    value: Sequence[str]
    interval: bool


class Element(NamedTuple):
    """``key`` and ``value`` in nft(8)'s notation; the elements of a set have no value."""

    set: str
    key: str
    value: str = ""


def shape(said: str) -> Shape:
    """Of what nft(8) is told to make a set or a map: ``map type ipv4_addr . inet_service : ipv4_addr ; flags …``."""
    kind, *flags = said.split(";")
    key, _, value = kind.partition("type ")[2].partition(" : ")
    return Shape(_parts(key), _parts(value), any("interval" in flag for flag in flags))


class SetElements:
    """The elements of one table of the family ``inet``, in the network namespace of the thread that makes this.
    Thread-safe. ``name`` is that by which the kernel tells others who it was, as with :func:`open_nftables`."""

    def __init__(self, table: str, shapes: dict[str, Shape], name: str = "") -> None:
        self._table = table
        self._shapes = shapes
        self._name = name
        self._netlink = Netlink(_NETLINK_NETFILTER)

    def close(self) -> None:
        self._netlink.close()

    def add(self, elements: Iterable[Element]) -> None:
        """All of them, or none. ``NotFound`` without the table or a set, ``Conflict`` if a key has another value."""
        self._run(_NEW, NLM_F_CREATE, "adding", elements)

    def delete(self, elements: Iterable[Element]) -> None:
        """All of them, or none; ``NotFound`` if one is not there."""
        self._run(_DELETE, 0, "removing", elements)

    def _run(self, kind: int, flags: int, what: str, elements: Iterable[Element]) -> None:
        messages = []
        for name, some in _by_set(elements):
            body = _NFGENMSG.pack(_INET, 0, 0) + text(_LIST_TABLE, self._table) + text(_LIST_SET, name)
            body += nested(_LIST_ELEMENTS, *(self._element(one, value=kind == _NEW) for one in some))
            keys = f"{some[0].key} and others" if some[1:] else some[0].key
            said = f"{what} {keys}, in {name} of the firewall table {self._table},"
            messages.append(Message(_SUBSYSTEM << 8 | kind, flags, body, said))
        if messages:
            with signed(self._name):
                self._netlink.transact(_batch(_BATCH_BEGIN), messages, _batch(_BATCH_END))

    def _element(self, one: Element, *, value: bool) -> bytes:
        shape = self._shapes[one.set]
        first, last = _packed(shape.key, one.key)
        parts = [nested(_KEY, attribute(_VALUE, first))]
        if shape.interval:
            parts.append(nested(_KEY_END, attribute(_VALUE, last)))
        if value and shape.value:
            parts.append(nested(_DATA, attribute(_VALUE, _packed(shape.value, one.value)[0])))
        return nested(_LIST_ELEM, *parts)


def _batch(kind: int) -> Message:
    return Message(kind, 0, _NFGENMSG.pack(socket.AF_UNSPEC, 0, _SUBSYSTEM), "changing the firewall")


def _by_set(elements: Iterable[Element]) -> Iterator[tuple[str, list[Element]]]:
    sets: dict[str, list[Element]] = {}
    for one in elements:
        sets.setdefault(one.set, []).append(one)
    for name, found in sets.items():
        for start in range(0, len(found), _AT_ONCE):
            yield name, found[start : start + _AT_ONCE]


def _parts(words: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in words.split(" . ")) if words.strip() else ()


def _packed(types: Sequence[str], said: str) -> tuple[bytes, bytes]:
    """The first and the last of the keys that are meant, as the kernel has them: each component fills whole words."""
    words = [word.strip().strip('"') for word in said.split(" . ")]
    if len(words) != len(types):
        raise Invalid(f"{said!r} is no element of a set of {' . '.join(types)}")
    ends = [_component(kind, word) for kind, word in zip(types, words, strict=True)]
    return b"".join(_whole(first) for first, _ in ends), b"".join(_whole(last) for _, last in ends)


def _whole(component: bytes) -> bytes:
    return component + b"\0" * (-len(component) % 4)


def _component(kind: str, word: str) -> tuple[bytes, bytes]:
    if kind in ("ipv4_addr", "ipv6_addr"):
        first, dash, last = word.partition("-")
        if dash:
            return ipaddress.ip_address(first).packed, ipaddress.ip_address(last).packed
        network = ipaddress.ip_network(word)
        return network.network_address.packed, network.broadcast_address.packed
    packed = _COMPONENTS[kind](word)
    return packed, packed


_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_FAMILIES = {"ipv4": 2, "ipv6": 10}
_COMPONENTS: dict[str, Callable[[str], bytes]] = {
    "ifname": lambda word: word.encode().ljust(_NAME, b"\0"),
    "inet_proto": lambda word: bytes([_PROTOCOLS[word]]),
    "inet_service": lambda word: struct.pack("!H", int(word)),
    "nf_proto": lambda word: bytes([_FAMILIES[word]]),
}
