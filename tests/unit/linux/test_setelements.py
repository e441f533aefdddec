"""Elements that are told to the kernel without libnftables are the same as with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sampan.errors import Conflict, Invalid, NotFound
from sampan.linux.nftables import Nftables, open_nftables
from sampan.linux.rulewatch import RuleWatch
from sampan.linux.setelements import Element, SetElements, shape
from sampan.testing import wires

pytestmark = pytest.mark.root

TABLE = "inet boats"
SETS = {
    "links": "set type ifname",
    "pairs": "set type ifname . ifname",
    "behind4": "set type ifname . ipv4_addr ; flags interval",
    "behind6": "set type ifname . ipv6_addr ; flags interval",
    "ranges": "set type nf_proto . ipv4_addr ; flags interval",
    "open6": "set type ipv6_addr . inet_proto . inet_service",
    "ports": "map type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "any6": "map type inet_proto . inet_service : ipv6_addr . inet_service",
}
ELEMENTS = [
    Element("links", '"b-1"'),
    Element("links", '"fifteen-letters"'),
    Element("pairs", '"b-1" . "eth0"'),
    Element("behind4", '"b-1" . 10.5.0.0/16'),
    Element("behind4", '"b-2" . 10.6.0.7'),
    Element("behind4", '"b-3" . 10.7.0.1-10.7.0.9'),
    Element("behind6", '"b-1" . fd00:5::/64'),
    Element("ranges", "ipv4 . 10.5.0.0/16"),
    Element("open6", "fd00:5::2 . udp . 53"),
    Element("ports", "192.0.2.2 . tcp . 8080", "10.5.0.2 . 80"),
    Element("ports", "192.0.2.2 . sctp . 8080", "10.5.0.3 . 80"),
    Element("any6", "tcp . 65535", "fd00:5::2 . 1"),
]


@pytest.fixture
def nft() -> Iterator[Nftables]:
    with wires.own_network():
        nft = open_nftables()
        nft.run(f"add table {TABLE}\n" + "".join(_set(name, said) for name, said in SETS.items()))
        yield nft
        nft.close()


@pytest.fixture
def ours(nft: Nftables) -> Iterator[SetElements]:
    ours = SetElements("boats", {name: shape(said) for name, said in SETS.items()})
    yield ours
    ours.close()


def _set(name: str, said: str) -> str:
    kind, rest = said.split(" ", 1)
    return f"add {kind} {TABLE} {name} {{ {rest} ; }}\n"


def _told(verb: str, one: Element) -> str:
    return f"{verb} element {TABLE} {one.set} {{ {one.key}{' : ' if one.value else ''}{one.value} }}\n"


def there(nft: Nftables) -> dict[str, list[str]]:
    listed = [content for one in nft.list(f"table {TABLE}") for content in one.values()]
    return {one["name"]: sorted(map(str, one.get("elem", ()))) for one in listed}


def test_they_come_and_go_as_with_libnftables(nft: Nftables, ours: SetElements) -> None:
    empty = there(nft)
    nft.run("".join(_told("add", one) for one in ELEMENTS))
    full = there(nft)
    ours.delete(ELEMENTS)
    assert there(nft) == empty
    ours.add(ELEMENTS)
    ours.add(ELEMENTS[:3])  # they may be there already
    assert there(nft) == full
    nft.run("".join(_told("delete", one._replace(value="")) for one in ELEMENTS))
    assert there(nft) == empty


def test_all_of_them_or_none(nft: Nftables, ours: SetElements) -> None:
    ours.add(ELEMENTS)
    before = there(nft)
    free = Element("links", '"b-9"')
    with pytest.raises(Conflict, match=r"192\.0\.2\.2 \. tcp \. 8080, in ports of the firewall table boats"):
        ours.add([free, ELEMENTS[9]._replace(value="10.5.0.9 . 80")])
    with pytest.raises(NotFound, match="in links of the firewall table boats, failed: No such file"):
        ours.delete([ELEMENTS[0], free])
    with pytest.raises(Invalid, match="is no element of a set of"):
        ours.add([Element("pairs", '"b-1"')])
    assert there(nft) == before
    nft.run(f"delete table {TABLE}")
    with pytest.raises(NotFound):
        ours.add([free])


def test_as_many_as_a_container_may_publish(nft: Nftables, ours: SetElements) -> None:
    many = [Element("ports", f"192.0.2.2 . udp . {port}", f"10.5.0.2 . {port}") for port in range(1, 1500)]
    ours.add(many)
    assert len(nft.list(f"map {TABLE} ports")[0]["map"]["elem"]) == len(many)
    ours.delete(many)
    assert "elem" not in nft.list(f"map {TABLE} ports")[0]["map"]


def test_who_it_was_is_told_to_those_who_watch(nft: Nftables) -> None:
    watch = RuleWatch()
    SetElements("boats", {"links": shape(SETS["links"])}, "ferry").add([Element("links", '"b-1"')])
    heard = next(one for _ in range(10) for one in watch.transactions(5.0))
    assert (heard.by, {part.name for part in heard.parts}) == ("ferry", {"links"})
    watch.close()
