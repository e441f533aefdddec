"""The one nftables table of an instance: its rules never change, networks and ports come and go as elements.

``inet sampan-INSTANCE`` holds chains with a fixed handful of rules and the sets and maps that they look things up in,
so that the hundredth network or port costs a packet what the first did, and making it one small transaction:

==================  ===============================================================================================
``bridges``         bridges with a way out; what comes in through one of them was published, or is an answer
``sealed_*``        bridges without: nothing in, nothing out, and no word with the host either
``within_*``        bridges whose containers may talk to one another, as pairs (seen where ``br_netfilter`` is loaded)
``own4`` ``own6``   the subnets behind each bridge: other senders are drops, and hairpins are recognised by them
``nat4`` ``nat6``   subnets that go out under the host's address
``ports*``          a published port of one host address → where it goes; ``anyports*``: of all host addresses
==================  ===============================================================================================

The names with a star end in the driver that owns the set: each driver writes its own sets only, and so can put back
what is missing without asking the other. Rules of others are neither read nor written; a packet that another table
drops stays dropped (a FORWARD policy of DROP with no rule for our bridges, for one).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sampan.errors import Conflict, NotFound, SampanError
from sampan.linux.nftables import Nftables, open_nftables

log = logging.getLogger(__name__)

OWNERS = ("bridge", "internal")

_SHARED = {
    "bridges": "set type ifname",
    "own4": "set type ifname . ipv4_addr ; flags interval",
    "own6": "set type ifname . ipv6_addr ; flags interval",
    "nat4": "set type ipv4_addr ; flags interval",
    "nat6": "set type ipv6_addr ; flags interval",
    "ports4": "map type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "ports6": "map type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
    "anyports4": "map type inet_proto . inet_service : ipv4_addr . inet_service",
    "anyports6": "map type inet_proto . inet_service : ipv6_addr . inet_service",
}
_OF_EACH = {"sealed": "set type ifname", "within": "set type ifname . ifname"}
_SETS = _SHARED | {f"{name}_{owner}": kind for name, kind in _OF_EACH.items() for owner in OWNERS}

_TO_CONTAINERS = [
    "dnat ip to ip daddr . meta l4proto . th dport map @ports4",
    "dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6",
    "fib daddr type local dnat ip to meta l4proto . th dport map @anyports4",
    "fib daddr type local dnat ip6 to meta l4proto . th dport map @anyports6",
]
_CHAINS: dict[str, tuple[str, list[str]]] = {
    # Bridges take packets for 127.0.0.0/8 (route_localnet), so that answers to 127.0.0.1 find their way back. At
    # this point those answers still carry the gateway's address: whatever says 127.0.0.0/8 here is an intruder.
    "early": ("filter hook prerouting priority raw", ["iifname @bridges ip daddr 127.0.0.0/8 drop"]),
    "inbound": (
        "nat hook prerouting priority dstnat",
        [
            *(f"iifname @sealed_{owner} return" for owner in OWNERS),
            # What was published on 127.0.0.1 is for this host only; a neighbour could send such packets, too.
            "ip daddr 127.0.0.0/8 return",
            *_TO_CONTAINERS,
        ],
    ),
    "local": ("nat hook output priority -100", _TO_CONTAINERS),
    "outbound": (
        "nat hook postrouting priority srcnat",
        [
            # A container that reaches a neighbour on its bridge through the host's address must get its answer
            # through the host, too.
            "ct status dnat oifname . ip saddr @own4 masquerade",
            "ct status dnat oifname . ip6 saddr @own6 masquerade",
            "oifname @bridges ip saddr 127.0.0.0/8 masquerade",
            "oifname != @bridges ip saddr @nat4 masquerade",
            "oifname != @bridges ip6 saddr @nat6 masquerade",
        ],
    ),
    "forward": (
        "filter hook forward priority filter",
        [
            *(f"iifname . oifname @within_{owner} accept" for owner in OWNERS),
            *(f"{direction} @sealed_{owner} drop" for owner in OWNERS for direction in ("iifname", "oifname")),
            # Nobody on a bridge speaks for others: the peer of a container that is on two networks, say.
            "iifname @bridges iifname . ip saddr != @own4 drop",
            "iifname @bridges iifname . ip6 saddr != @own6 drop",
            "oifname @bridges ct state established,related accept",
            "oifname @bridges ct status dnat accept",
            "oifname @bridges drop",
        ],
    ),
    "host": ("filter hook input priority filter", [f"iifname @sealed_{owner} drop" for owner in OWNERS]),
}


class Element(NamedTuple):
    """``key`` and ``value`` in nft(8)'s notation; the elements of a set have no value."""

    set: str
    key: str
    value: str = ""


class Firewall:
    """One driver's share of the table. Thread-safe.

    It remembers what it was told, so that it can tell the kernel again: whenever the table turns out to be missing,
    all of the share is put back in one transaction. Opened at its first use, in that thread's network namespace.
    """

    def __init__(self, instance: str, owner: str) -> None:
        self.table = f"inet sampan-{instance}"
        self._owner = owner
        self._lock = threading.Lock()
        self._nft: Nftables | None = None
        self._wanted: dict[tuple[str, str], str] = {}
        self._installed = False

    def add(self, elements: Iterable[Element]) -> None:
        """All of them, or none; those that are there already stay. ``Conflict`` if a key has another value."""
        with self._lock:
            fresh = [one for one in elements if self._wanted.get((one.set, one.key)) != one.value]
            for one in fresh:
                if (one.set, one.key) in self._wanted:
                    raise Conflict(f"{one.key} is already in use in {one.set} of the firewall table {self.table}")
            before = dict(self._wanted)
            self._wanted |= {(one.set, one.key): one.value for one in fresh}
            try:
                self._apply("add", fresh)
            except SampanError:
                self._wanted = before
                raise

    def remove(self, elements: Iterable[Element]) -> None:
        """Those that are there with just these values; nothing is said of others."""
        with self._lock:
            gone = [one for one in elements if self._wanted.get((one.set, one.key)) == one.value]
            for one in gone:
                del self._wanted[one.set, one.key]
            self._apply("delete", gone)

    def value(self, name: str, key: str) -> str | None:
        """What is known of a key."""
        with self._lock:
            return self._wanted.get((name, key))

    def present(self, element: Element) -> bool:
        """Does the kernel know it, whatever we believe?"""
        with self._lock:
            try:
                self._open().run(f"get element {self.table} {element.set} {{ {element.key} }}")
            except NotFound:
                return False
            return True

    def replace(self, elements: Iterable[Element]) -> None:
        """Just these from now on: what is missing is put back, rules included, and what is unknown goes, at once."""
        with self._lock:
            self._wanted = {(one.set, one.key): one.value for one in elements}
            self._install()

    def remove_table(self) -> None:
        """Remove the table if nothing in it is in use any more, by whichever driver."""
        with self._lock:
            if self._wanted:
                return
            try:
                listed = self._open().list(f"table {self.table}")
                if not any(content.get("elem") for one in listed for content in one.values()):
                    self._open().run(f"delete table {self.table}")
                    self._installed = False
            except NotFound:
                self._installed = False

    def _apply(self, verb: str, elements: list[Element]) -> None:
        if not elements:
            return
        if not self._installed:
            self._install()
            return
        keyed = verb == "delete"
        try:
            self._open().run("".join(self._commands(verb, ((one.set, one.key, one.value) for one in elements), keyed)))
        except NotFound:
            log.warning("the firewall table %s was incomplete: putting it back", self.table)
            self._install()

    def _install(self) -> None:
        script = "".join(self._skeleton())
        script += "".join(self._commands("add", ((name, key, value) for (name, key), value in self._wanted.items())))
        try:
            self._open().run(script)
        except Conflict:
            # A set of the same name and another shape: another version's table. The other driver repairs its share.
            log.warning("the firewall table %s is of another version: making it afresh", self.table)
            self._open().run(f"add table {self.table}\ndelete table {self.table}\n" + script)
        self._installed = True

    def _skeleton(self) -> Iterator[str]:
        yield f"add table {self.table}\n"
        for name, shape in _SETS.items():
            kind, shape = shape.split(" ", 1)
            yield f"add {kind} {self.table} {name} {{ {shape} ; }}\n"
            if self._owns(name):
                yield f"flush {kind} {self.table} {name}\n"
        for name, (hook, rules) in _CHAINS.items():
            yield f"add chain {self.table} {name} {{ type {hook} ; policy accept ; }}\n"
            yield f"flush chain {self.table} {name}\n"
            for rule in rules:
                yield f"add rule {self.table} {name} {rule}\n"

    def _owns(self, name: str) -> bool:
        return name.endswith(f"_{self._owner}") or (name in _SHARED and self._owner == OWNERS[0])

    def _commands(self, verb: str, elements: Iterable[tuple[str, str, str]], keyed: bool = False) -> Iterator[str]:
        by_set: dict[str, list[str]] = {}
        for name, key, value in elements:
            by_set.setdefault(name, []).append(f"{key} : {value}" if value and not keyed else key)
        for name, texts in by_set.items():
            yield f"{verb} element {self.table} {name} {{ {', '.join(texts)} }}\n"

    def _open(self) -> Nftables:
        if self._nft is None:
            self._nft = open_nftables()
        return self._nft


def network_elements(
    owner: str, bridge: str, *, sealed: bool, subnets: Iterable[str], options: Mapping[str, bool]
) -> Iterator[Element]:
    """What the firewall must know of a network; ``options`` are ``icc`` and ``masquerade``."""
    if options["icc"]:
        yield Element(f"within_{owner}", f'"{bridge}" . "{bridge}"')
    if sealed:
        yield Element(f"sealed_{owner}", f'"{bridge}"')
        return
    yield Element("bridges", f'"{bridge}"')
    for subnet in subnets:
        family = "6" if ":" in subnet else "4"
        yield Element(f"own{family}", f'"{bridge}" . {subnet}')
        if options["masquerade"]:
            yield Element(f"nat{family}", subnet)
