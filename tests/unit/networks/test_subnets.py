from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import pytest

from sampan.drivers.types import Subnet
from sampan.errors import Exhausted, Forbidden, Invalid
from sampan.networks import subnets


@dataclass
class Pool:
    base: str
    size: int


POOLS = [Pool("172.17.0.0/16", 16), Pool("172.20.0.0/14", 16), Pool("fd00::/62", 64)]


def test_the_first_that_overlaps_nothing() -> None:
    taken = [ipaddress.ip_network("172.17.4.0/24"), ipaddress.ip_network("172.16.0.0/12").supernet()]
    assert subnets.choose(POOLS, 4, taken[:1]) == Subnet(subnet="172.20.0.0/16", gateway="172.20.0.1")
    with pytest.raises(Exhausted, match="default_address_pools"):
        subnets.choose(POOLS, 4, taken)


def test_ipv6_comes_from_ipv6_pools() -> None:
    taken = [ipaddress.ip_network("fd00::/64"), ipaddress.ip_network("10.0.0.0/8")]
    assert subnets.choose(POOLS, 6, taken).subnet == "fd00:0:0:1::/64"


def test_without_an_ipv6_pool_it_is_a_unique_local_one_and_never_the_same() -> None:
    found = {subnets.choose(POOLS[:2], 6, []).subnet for _ in range(5)}
    assert len(found) == 5
    assert all(ipaddress.ip_network(one).subnet_of(ipaddress.ip_network("fd00::/8")) for one in found)


def test_a_subnet_as_the_user_says() -> None:
    entry = {
        "Subnet": "10.5.0.0/16",
        "IPRange": "10.5.1.0/24",
        "Gateway": "10.5.0.254",
        "AuxiliaryAddresses": {"host": "10.5.1.9"},
    }
    expected = Subnet(subnet="10.5.0.0/16", gateway="10.5.0.254", ip_range="10.5.1.0/24", reserved={"host": "10.5.1.9"})
    assert subnets.read([{"Subnet": "fd00::/64"}, entry]) == (expected, Subnet(subnet="fd00::/64", gateway="fd00::1"))


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ([{"Subnet": "10.5.0.0"}], "10.5.0.0"),
        ([{"Subnet": "10.5.0.1/16"}], "10.5.0.0/16"),
        ([{"Subnet": "nonsense/8"}], "nonsense"),
        ([{"Subnet": "10.5.0.0/31"}], "too small"),
        ([{"Subnet": "10.5.0.0/16", "Gateway": "10.6.0.1"}], "10.6.0.1"),
        ([{"Subnet": "10.5.0.0/16", "Gateway": "gate"}], "gate"),
        ([{"Subnet": "10.5.0.0/16", "IPRange": "10.6.0.0/24"}], "10.6.0.0/24"),
        ([{"Subnet": "10.5.0.0/16", "AuxiliaryAddresses": {"a": "10.6.0.1"}}], "address a: parent subnet"),
        ([{"Subnet": "10.5.0.0/16", "Gateway": "10.5.0.0"}], "nobody's"),
        ([{"Subnet": "10.5.0.0/16", "IPRange": "10.0.0.0/8"}], "bigger than its parent subnet"),
        ([{"Subnet": "10.5.0.0/16", "IPRange": "fd00::/64"}], "parent subnet is an IPv4 block"),
        ([{"Gateway": "10.5.0.1"}], "needs a subnet"),
        ([{"Subnet": "10.5.0.0/16"}, {"Subnet": "10.5.7.0/24"}], "overlaps"),
        ([{"Subnet": "127.0.0.0/8"}], "loopback"),
        ([{"Subnet": "0.0.0.0/0"}], "loopback"),
        ([{"Subnet": "230.0.0.0/24"}], "multicast"),
        ([{"Subnet": "ff02::/64"}], "multicast"),
        ([{"Subnet": "::/0"}], "loopback"),
        ([{"Subnet": "::ffff:10.9.0.0/112"}], "mapped"),
        ([{"Subnet": "fd00::%eth0/64"}], "CIDR"),
        ([{"Subnet": "10.5.0.0/255.255.0.0"}], "CIDR"),
    ],
)
def test_what_cannot_be_is_named(entries: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        subnets.read(entries)


def test_a_subnet_of_another_network_is_forbidden() -> None:
    mine = [Subnet(subnet="10.5.0.0/16"), Subnet(subnet="fd00::/64")]
    subnets.check_free(mine, {"other": [Subnet(subnet="10.6.0.0/16")]})
    with pytest.raises(Forbidden, match=r"Pool overlaps .* other"):
        subnets.check_free(mine, {"other": [Subnet(subnet="10.0.0.0/8")]})


def test_many_networks_do_not_make_the_next_one_slower() -> None:
    """Each of those that are there is looked at once, not once for each candidate."""
    taken = [subnets.parsed(Subnet(subnet=f"10.{high}.{low}.0/24")) for high in range(8) for low in range(256)]
    looked = 0

    class Counted(ipaddress.IPv4Network):
        @property
        def version(self) -> int:
            nonlocal looked
            looked += 1
            return 4

    counted = [Counted(one) for one in taken]
    assert subnets.choose([Pool("10.0.0.0/8", 24)], 4, counted).subnet == "10.8.0.0/24"
    assert looked <= 2 * len(taken)
