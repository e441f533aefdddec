from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.drivers.types import NetworkSpec, Subnet
from sampan.errors import Conflict, Exhausted, Invalid
from sampan.networks.addresses import Addresses, mac_of

V4 = Subnet(subnet="10.1.0.0/29", gateway="10.1.0.1")
V6 = Subnet(subnet="fd00::/64", gateway="fd00::1")


def addresses(*subnets: Subnet) -> Addresses:
    return Addresses(NetworkSpec(id="a" * 64, name="net", driver="bridge", subnets=subnets or (V4,)))


def plain(pool: Addresses) -> str:
    return pool.allocate()[0].partition("/")[0]


def test_the_first_free_one_after_the_gateway_with_the_subnets_prefix() -> None:
    assert addresses().allocate() == ("10.1.0.2/29",)


def test_one_per_version_ipv4_first() -> None:
    assert addresses(V6, V4).allocate() == ("10.1.0.2/29", "fd00::2/64")


def test_an_address_just_given_back_is_the_last_to_come_again() -> None:
    pool = addresses()
    first = pool.allocate()
    pool.release(first)
    others = [plain(pool) for _ in range(4)]
    assert others == ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]
    assert pool.allocate() == first


def test_gateway_reserved_network_and_broadcast_addresses_are_never_given() -> None:
    pool = addresses(Subnet(subnet="10.1.0.0/29", gateway="10.1.0.6", reserved={"router": "10.1.0.3"}))
    assert [plain(pool) for _ in range(4)] == ["10.1.0.1", "10.1.0.2", "10.1.0.4", "10.1.0.5"]
    with pytest.raises(Exhausted, match=r"no available IPv4 addresses .* net "):
        pool.allocate()


def test_only_the_ip_range_is_given_out_but_the_rest_may_be_asked_for() -> None:
    pool = addresses(Subnet(subnet="10.1.0.0/24", gateway="10.1.0.1", ip_range="10.1.0.64/30"))
    assert [plain(pool) for _ in range(4)] == ["10.1.0.64", "10.1.0.65", "10.1.0.66", "10.1.0.67"]
    assert pool.allocate(["10.1.0.9"]) == ("10.1.0.9/24",)


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ("10.1.0.1", Conflict),  # the gateway
        ("10.1.0.5", Conflict),  # in use
        ("10.1.0.0", Invalid),
        ("10.1.0.7", Invalid),
        ("10.2.0.1", Invalid),
        ("fd00::5", Invalid),
    ],
)
def test_a_wanted_address_that_cannot_be(wanted: str, kind: type[Exception]) -> None:
    pool = addresses()
    pool.allocate(["10.1.0.5"])
    with pytest.raises(kind, match=wanted):
        pool.allocate([wanted])


def test_if_one_of_two_cannot_be_given_the_other_is_given_back() -> None:
    pool = addresses(V4, V6)
    with pytest.raises(Conflict):
        pool.allocate(["10.1.0.4", "fd00::1"])
    assert pool.allocate(["10.1.0.4"])[0] == "10.1.0.4/29"


def test_what_was_in_use_before_a_restart_stays_in_use() -> None:
    pool = addresses()
    pool.take(["10.1.0.2/29"])
    assert plain(pool) == "10.1.0.3"


def test_giving_back_twice_frees_nobody_elses() -> None:
    pool = addresses()
    mine = pool.allocate(["10.1.0.4"])
    pool.release(mine)
    pool.release(mine)
    assert pool.allocate(["10.1.0.4"]) == mine


def test_no_two_get_the_same_address_at_once() -> None:
    pool = addresses(Subnet(subnet="10.1.0.0/23", gateway="10.1.0.1"))
    with ThreadPoolExecutor(8) as threads:
        given_out = list(threads.map(lambda _: pool.allocate()[0], range(500)))
    assert len(set(given_out)) == 500


@given(st.lists(st.booleans(), max_size=80))
def test_an_address_is_never_given_out_twice(steps: list[bool]) -> None:
    pool, held = addresses(), []
    for take in steps:
        if take and len(held) < 5:
            held.append(pool.allocate())
        elif not take and held:
            pool.release(held.pop(0))
        assert len(set(held)) == len(held)
        assert all(ipaddress.ip_interface(one).ip != ipaddress.ip_address("10.1.0.1") for (one,) in held)


def test_the_mac_is_made_of_the_ipv4_address() -> None:
    assert mac_of(["fd00::2/64", "172.17.0.2/16"]) == "02:42:ac:11:00:02"
    assert mac_of(["fd00::102/64"]) == "02:42:00:00:01:02"
    assert mac_of([]) == ""
