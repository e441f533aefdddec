"""What the bridge driver tells ``sampan doctor``, with everything broken for real, one thing at a time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.drivers.types import Finding, Host
from sampan.testing.places import Net, Place
from sampan.testing.wires import Namespace, own_network
from sampan_network.bridge import Bridge
from sampan_network.internal import Internal

pytestmark = pytest.mark.root

Examine = Callable[[], list[Finding]]


@pytest.fixture
def world() -> Iterator[Namespace]:
    with own_network() as world:
        yield world


@pytest.fixture
def driver(world: Namespace, tmp_path: Path) -> Bridge:
    host = Host(instance="d0c70a11", data_root=tmp_path, exec_root=tmp_path)
    return Bridge(host, Bridge.Options())


@pytest.fixture
def place(driver: Bridge) -> Place:
    net = Net(driver, 1, ipv6=True)
    driver.create_network(net.spec)
    place = net.join()
    place.publish(8080)
    place.publish(8081, host_ip="127.0.0.1", protocol="udp")
    return place


def wrong(driver: Bridge, place: Place) -> list[str]:
    found = driver.examine(place.net.spec, place.endpoint, place.ports)
    assert all(one.remedy for one in found if one.mark == "wrong")
    return [one.says for one in found if one.mark == "wrong"]


def nft(text: str) -> None:
    subprocess.run(["nft", text], check=True)


def test_all_is_well(driver: Bridge, place: Place) -> None:
    found = driver.examine(place.net.spec, place.endpoint, place.ports)
    assert {one.mark for one in found} == {"fine"}, found
    assert any("0.0.0.0:8080/tcp round to 10.21.0.2:80" in one.says for one in found)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("link set {link} down", "the host's end of the container's link is down"),
        ("link set {link} nomaster", "is no port of the bridge"),
        ("link delete {link}", "the host's end of the container's link is gone"),
        ("link set {bridge} down", "the bridge of the network net1 is down"),
        ("address delete 10.21.0.1/16 dev {bridge}", "the bridge has lost its address 10.21.0.1/16"),
    ],
)
def test_a_link_that_somebody_changed(driver: Bridge, place: Place, world: Namespace, words: str, says: str) -> None:
    names = {"link": driver.link_name(place.endpoint), "bridge": driver.bridge_name(place.net.spec)}
    world.ip(*words.format(**names).split())
    assert any(says in one for one in wrong(driver, place)), wrong(driver, place)


def test_a_bridge_that_is_gone(driver: Bridge, place: Place, world: Namespace) -> None:
    world.ip("link", "delete", driver.bridge_name(place.net.spec))
    assert any("the bridge of the network net1 is gone" in one for one in wrong(driver, place))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("net/ipv4/ip_forward", "the host does not forward IPv4"),
        ("net/ipv6/conf/all/forwarding", "the host does not forward IPv6"),
        ("net/ipv4/conf/{bridge}/route_localnet", "does not answer on 127.0.0.1"),
    ],
)
def test_a_setting_that_somebody_turned_off(driver: Bridge, place: Place, setting: str, says: str) -> None:
    Path("/proc/sys", setting.format(bridge=driver.bridge_name(place.net.spec))).write_text("0")
    assert [says in one for one in wrong(driver, place)] == [True]


def test_an_element_of_a_port_that_is_missing(driver: Bridge, place: Place) -> None:
    nft("delete element inet sampan-d0c70a11 anyports4 { tcp . 8080 }")
    assert ["has no element for 0.0.0.0:8080/tcp" in one for one in wrong(driver, place)] == [True]


def test_elements_of_the_network_that_are_missing(driver: Bridge, place: Place) -> None:
    nft("delete element inet sampan-d0c70a11 nat4 { ipv4 . 10.21.0.0/16 }")
    assert ["ipv4 . 10.21.0.0/16 in nat4" in one for one in wrong(driver, place)] == [True]
    nft("flush ruleset")
    assert len(wrong(driver, place)) == 3, "the network and both ports"


def test_another_table_that_drops_what_is_forwarded(driver: Bridge, place: Place) -> None:
    nft("table inet theirs { chain door { type filter hook forward priority 5; policy drop; }; }")
    [said] = wrong(driver, place)
    assert said.startswith("chain door of the table inet theirs drops what is forwarded")
    [remedy] = [one.remedy for one in driver.examine(place.net.spec) if one.mark == "wrong"]
    for command in remedy.split(" && "):
        subprocess.run(["sh", "-c", command], check=True)
    assert wrong(driver, place) == [], "what it says is to be done helps"


@pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables here")
def test_a_policy_of_iptables(driver: Bridge, place: Place) -> None:
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    [said] = wrong(driver, place)
    assert said.startswith("iptables' chain FORWARD drops what is forwarded")
    [remedy] = [one.remedy for one in driver.examine(place.net.spec) if one.mark == "wrong"]
    subprocess.run(["sh", "-c", remedy], check=True)
    assert wrong(driver, place) == []


def test_chains_of_others_that_let_things_through_or_look_elsewhere_are_fine(driver: Bridge, place: Place) -> None:
    nft("table inet theirs { chain a { type filter hook forward priority 5; policy accept; }; }")
    nft("table inet other { chain b { type filter hook output priority 5; policy drop; }; }")
    assert wrong(driver, place) == []


def test_a_sealed_network_needs_no_way_out(driver: Bridge, world: Namespace) -> None:
    driver = Internal(driver.host, Internal.Options())
    net = Net(driver, 2)
    driver.create_network(net.spec)
    place = net.join()
    nft("table inet theirs { chain door { type filter hook forward priority 5; policy drop; }; }")
    assert wrong(driver, place) == []
    world.ip("link", "set", driver.link_name(place.endpoint), "down")
    assert len(wrong(driver, place)) == 1
