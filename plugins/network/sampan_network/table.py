"""The one nftables table of an instance: its rules hardly ever change, networks and ports come and go as elements.

``inet sampan-INSTANCE`` holds chains with a fixed handful of rules and the sets and maps that they look things up in,
so that the hundredth network or port costs a packet what the first did, and making it one small transaction:

==================  ===============================================================================================
``bridges``         bridges with a way out; what comes in through one of them was published, or is an answer
``sealed_*``        bridges without: nothing in, nothing out, and no word with the host either
``reached``         those of them to whose containers the host may speak (and these answer)
``within_*``        bridges whose containers may talk to one another, as pairs (seen where ``br_netfilter`` is loaded)
``own4`` ``own6``   the subnets behind each bridge: other senders are drops, and hairpins are recognised by them
``nat4`` ``nat6``   subnets that go out under the host's address
``ports*``          a published port of one host address → where it goes; ``anyports*``: of all host addresses
``open*``           published ports of networks that are routed: reached at the container's own address
``routed*``         the bridges of such networks: their containers answer pings
``unprotected*``    bridges whose containers are reached from outside at any port
``direct*``         published ports that those of ``trusted`` may reach at the container's own address
``trusted``         pairs of a link of the host and a bridge
==================  ===============================================================================================

The names with a star end in the driver that owns the set, or in the version of IP. Rules of others are neither read
nor written; a packet that another table drops stays dropped (a FORWARD policy of DROP with no rule for our bridges,
for one). The chain ``user``, and every other chain, set or map whose name begins like this, is the user's: never
emptied, never removed (docs/firewall.md).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

OWNERS = ("bridge", "internal")
USER = "user"

_SHARED = {
    "bridges": "set type ifname",
    "reached": "set type ifname",
    "own4": "set type ifname . ipv4_addr ; flags interval",
    "own6": "set type ifname . ipv6_addr ; flags interval",
    # The family is said once more for the sake of speed: libnftables reads all of a set of plain intervals, before it
    # changes anything at all.
    "nat4": "set type nf_proto . ipv4_addr ; flags interval",
    "nat6": "set type nf_proto . ipv6_addr ; flags interval",
    "ports4": "map type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "ports6": "map type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
    "anyports4": "map type inet_proto . inet_service : ipv4_addr . inet_service",
    "anyports6": "map type inet_proto . inet_service : ipv6_addr . inet_service",
    "open4": "set type ipv4_addr . inet_proto . inet_service",
    "open6": "set type ipv6_addr . inet_proto . inet_service",
    "direct4": "set type ipv4_addr . inet_proto . inet_service",
    "direct6": "set type ipv6_addr . inet_proto . inet_service",
    "trusted": "set type ifname . ifname",
    "routed4": "set type ifname",
    "routed6": "set type ifname",
    "unprotected4": "set type ifname",
    "unprotected6": "set type ifname",
}
_OF_EACH = {"sealed": "set type ifname", "within": "set type ifname . ifname"}
SETS = _SHARED | {f"{name}_{owner}": kind for name, kind in _OF_EACH.items() for owner in OWNERS}
"""Their kinds and types, in nft(8)'s words."""

_INPUT = "filter hook input priority filter"
_TO_CONTAINERS = [
    "dnat ip to ip daddr . meta l4proto . th dport map @ports4",
    "dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6",
    "fib daddr type local dnat ip to meta l4proto . th dport map @anyports4",
    "fib daddr type local dnat ip6 to meta l4proto . th dport map @anyports6",
]
CHAINS: dict[str, tuple[str, list[str]]] = {
    # Bridges take packets for 127.0.0.0/8 (route_localnet), so that answers to 127.0.0.1 find their way back. At
    # this point those answers still carry the gateway's address: whatever says 127.0.0.0/8 here is an intruder.
    "early": ("filter hook prerouting priority raw", ["ip daddr 127.0.0.0/8 iifname @bridges drop"]),
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
            "oifname @bridges ip6 saddr ::1 masquerade",
            "oifname != @bridges meta nfproto . ip saddr @nat4 masquerade",
            "oifname != @bridges meta nfproto . ip6 saddr @nat6 masquerade",
        ],
    ),
    # What gets to a bridge with a way out, from wherever.
    "entering": (
        "",
        [
            "ct state established,related accept",
            "ct status dnat accept",
            "ip daddr . meta l4proto . th dport @open4 accept",
            "ip6 daddr . meta l4proto . th dport @open6 accept",
            # Numbers: names that are not of nftables' grammar are looked up in /etc/protocols, which may be missing.
            "oifname @routed4 meta l4proto 1 accept",
            "oifname @routed6 meta l4proto 58 accept",
            "iifname . oifname @trusted ip daddr . meta l4proto . th dport @direct4 accept",
            "iifname . oifname @trusted ip6 daddr . meta l4proto . th dport @direct6 accept",
            "iifname != @bridges oifname @unprotected4 meta nfproto ipv4 accept",
            "iifname != @bridges oifname @unprotected6 meta nfproto ipv6 accept",
            "drop",
        ],
    ),
    # What leaves a bridge with a way out.
    "leaving": (
        "",
        [
            "iifname . ip saddr @own4 ct state established accept",
            "iifname . ip6 saddr @own6 ct state established accept",
            # Nobody on a bridge speaks for others: the peer of a container that is on two networks, say.
            "iifname . ip saddr != @own4 drop",
            "iifname . ip6 saddr != @own6 drop",
            "oifname @bridges goto entering",
            *(f"oifname @sealed_{owner} drop" for owner in OWNERS),
            "accept",
        ],
    ),
    "enclosed": ("", ["iifname . oifname @within_internal accept", "drop"]),
    # Frames between neighbours come here where br_netfilter is loaded; it is quicker to let them be than to ask more.
    "crossing": (
        "",
        [
            'meta oifkind "bridge" iifname . oifname @within_bridge accept',
            "iifname @bridges goto leaving",
            *(f"iifname @sealed_{owner} goto enclosed" for owner in OWNERS),
        ],
    ),
    # Most packets belong to flows that were let through before, between a bridge and elsewhere: they pass by as few
    # sets as can be. That they do is no reason to let them out of a sealed bridge, or in under another's address; and
    # what is related to them may be a forged error.
    "forward": (
        "filter hook forward priority filter",
        [
            f"jump {USER}",
            'meta iifkind "bridge" jump crossing',
            "oifname @bridges goto entering",
            *(f"oifname @sealed_{owner} drop" for owner in OWNERS),
        ],
    ),
    # The host asks, the containers of a sealed bridge answer; nothing that a container begins, and none that speaks
    # for others.
    "answers": (
        "",
        [
            "iifname @reached iifname . ip saddr @own4 ct state established ct direction reply accept",
            "iifname @reached iifname . ip6 saddr @own6 ct state established ct direction reply accept",
            "iifname @reached icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
            "drop",
        ],
    ),
    # All that the host gets passes by these, so they are only there while their drivers have something sealed.
    **{f"host_{owner}": (_INPUT, [f"iifname @sealed_{owner} goto answers"]) for owner in OWNERS},
}
"""Type, hook and priority of each chain, or ``""`` where others lead to it, and its rules. Those come first."""

_BLOCK = re.compile(r"^\t\w+ (\S+) \{$")


def skeleton(table: str, owner: str, *, sealed: bool) -> Iterator[str]:
    """The commands that make the table as it must be, with the owner's sets empty and the user's things untouched.
    ``sealed``: the owner has bridges without a way out."""
    yield f"add table {table}\n"
    yield f"add chain {table} {USER}\n"
    for name, shape in SETS.items():
        kind, shape = shape.split(" ", 1)
        yield f"add {kind} {table} {name} {{ {shape} ; }}\n"
        if owns(owner, name):
            yield f"flush {kind} {table} {name}\n"
    for name, (hook, rules) in CHAINS.items():
        if _is_anothers(owner, name):
            continue
        yield f"add chain {table} {name}{f' {{ type {hook} ; policy accept ; }}' if hook else ''}\n"
        yield f"flush chain {table} {name}\n"
        if name == f"host_{owner}" and not sealed:
            yield f"delete chain {table} {name}\n"
            continue
        for rule in rules:
            yield f"add rule {table} {name} {rule}\n"


def is_seal(name: str) -> bool:
    """Is it a set of bridges without a way out?"""
    return name.startswith("sealed_")


def rules(owner: str, *, sealed: bool) -> Counter[str]:
    """How many rules there must be in each chain, but for the other driver's."""
    own = {name for name in CHAINS if not _is_anothers(owner, name) and (sealed or name != f"host_{owner}")}
    return Counter({name: len(CHAINS[name][1]) for name in own})


def _is_anothers(owner: str, chain: str) -> bool:
    return chain.startswith("host_") and chain != f"host_{owner}"


def owns(owner: str, name: str) -> bool:
    """Does this driver write that set?"""
    return name.endswith(f"_{owner}") or (name in _SHARED and owner == OWNERS[0])


def is_users(name: str) -> bool:
    return name.startswith(USER)


def strangers(listed: Iterable[dict[str, Any]]) -> list[str]:
    """What is in a listed table and neither ours nor the user's: it was made by another version."""
    named = [content["name"] for one in listed for kind, content in one.items() if kind in ("chain", "set", "map")]
    return [name for name in named if name not in CHAINS and name not in SETS and not is_users(name)]


def in_use(listed: Iterable[dict[str, Any]]) -> bool:
    """Has the listed table any element, or anything of the user's?"""
    for one in listed:
        for kind, content in one.items():
            if kind == "rule" and is_users(content["chain"]):
                return True
            if kind in ("chain", "set", "map") and is_users(content["name"]) and content["name"] != USER:
                return True
            if content.get("elem"):
                return True
    return False


def counted(listed: Iterable[dict[str, Any]], owner: str) -> tuple[Counter[str], Counter[str]]:
    """How many elements the owner's sets have in a listed table, and how many rules the chains that concern it."""
    elements, found = Counter[str](), Counter[str]()
    for one in listed:
        for kind, content in one.items():
            if kind == "rule" and content["chain"] in CHAINS and not _is_anothers(owner, content["chain"]):
                found[content["chain"]] += 1
            elif kind in ("set", "map") and owns(owner, content["name"]):
                elements[content["name"]] += len(content.get("elem", ()))
    return +elements, found


def users_part(table: str, text: str) -> str:
    """Of a table as nft(8) lists it, the user's chains, sets and maps, as commands that make them again."""
    kept: list[str] = []
    mine = False
    for line in text.splitlines():
        if block := _BLOCK.match(line):
            mine = is_users(block[1])
        if mine and line.startswith("\t"):
            kept.append(line)
        if line == "\t}":
            mine = False
    return "\n".join([f"table {table} {{", *kept, "}", ""])
