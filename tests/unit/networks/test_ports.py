from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from sampan.config import NetworkConfig
from sampan.drivers.types import NetworkSpec, PortBinding, Subnet
from sampan.errors import Conflict, Exhausted, Invalid
from sampan.networks.defaults import publishing
from sampan.networks.holding import has_ipv6, hold
from sampan.networks.ports import Ports, Wish, read
from sampan.types import Network

ANY = ["0.0.0.0"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    """A port that nobody has, and neither has its successor."""
    while True:
        found = free_port()
        with socket.socket() as after:
            try:
                after.bind(("0.0.0.0", found + 1))
                return found
            except OSError:
                continue


@pytest.mark.parametrize(
    ("bindings", "wishes"),
    [
        ({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, [Wish("tcp", 80, "", 8080, 8080)]),
        ({"80": [{"HostPort": "8080"}]}, [Wish("tcp", 80, "", 8080, 8080)]),
        ({"53/UDP": [{"HostIp": "127.0.0.1", "HostPort": ""}]}, [Wish("udp", 53, "127.0.0.1")]),
        ({"80/tcp": [{"HostIp": "::1", "HostPort": "0"}]}, [Wish("tcp", 80, "::1")]),
        ({"80/tcp": [{"HostPort": "8000-8010"}]}, [Wish("tcp", 80, "", 8000, 8010)]),
        ({"80-81/tcp": [{"HostPort": "90-91"}]}, [Wish("tcp", 80, "", 90, 90), Wish("tcp", 81, "", 91, 91)]),
        ({"80/tcp": None}, [Wish("tcp", 80)]),
        ({"80/tcp": []}, [Wish("tcp", 80)]),
    ],
)
def test_every_form_of_a_binding(bindings: dict[str, Any], wishes: list[Wish]) -> None:
    assert read({}, bindings, publish_all=False) == wishes


def test_publishing_all_means_what_is_exposed_and_not_bound() -> None:
    exposed: dict[str, Any] = {"80/tcp": {}, "90-91/udp": {}}
    bound = {"80/tcp": [{"HostPort": "8080"}]}
    assert read(exposed, bound, publish_all=False) == [Wish("tcp", 80, "", 8080, 8080)]
    assert read(exposed, bound, publish_all=True)[1:] == [Wish("udp", 90), Wish("udp", 91)]


@pytest.mark.parametrize(
    ("key", "place", "named"),
    [
        ("80/icmp", {}, "icmp"),
        ("x/tcp", {}, "x/tcp"),
        ("0/tcp", {}, "0/tcp"),
        ("70000/tcp", {}, "70000"),
        ("90-80/tcp", {}, "90-80"),
        ("80/tcp", {"HostPort": "abc"}, "abc"),
        ("80/tcp", {"HostPort": "65536"}, "65536"),
        ("80/tcp", {"HostPort": "-1"}, "-1"),
        ("80/tcp", {"HostPort": "0-5"}, "0-5"),
        ("80-82/tcp", {"HostPort": "90-91"}, "90-91"),
        ("80/tcp", {"HostIp": "localhost", "HostPort": "1"}, "localhost"),
    ],
)
def test_what_is_no_port_is_named(key: str, place: dict[str, str], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        read({}, {key: [place]}, publish_all=False)


def test_a_port_has_one_owner_until_it_is_given_back(port: int) -> None:
    ports = Ports()
    wish = [Wish("tcp", 80, "", port, port)]
    mine = ports.reserve("me", wish, ANY)
    assert mine == [PortBinding(protocol="tcp", container_port=80, host_ip="0.0.0.0", host_port=port)]
    with pytest.raises(Conflict, match=f"Bind for 127.0.0.1:{port} failed: port is already allocated"):
        ports.reserve("you", [Wish("tcp", 80, "127.0.0.1", port, port)], ANY)
    ports.reserve("you", [Wish("udp", 80, "", port, port)], ANY)
    ports.release("you", mine)
    with pytest.raises(Conflict):
        ports.reserve("you", wish, ANY)
    ports.release("me", mine)
    assert ports.reserve("you", wish, ANY) == mine


def test_all_ports_or_none(port: int) -> None:
    ports = Ports()
    ports.reserve("me", [Wish("tcp", 80, "", port + 1, port + 1)], ANY)
    with pytest.raises(Conflict):
        ports.reserve("you", [Wish("tcp", 80, "", port, port), Wish("tcp", 81, "", port + 1, port + 1)], ANY)
    assert ports.reserve("you", [Wish("tcp", 80, "", port, port)], ANY)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_process_that_listens_is_in_the_way(protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            foreign.listen()
        taken = foreign.getsockname()[1]
        with pytest.raises(
            Conflict, match=f"failed to bind host port 0.0.0.0:{taken}/{protocol}: address already in use"
        ):
            Ports().reserve("me", [Wish(protocol, 80, "", taken, taken)], ANY)
    assert Ports().reserve("me", [Wish(protocol, 80, "", taken, taken)], ANY)


def test_closed_connections_that_linger_are_not_in_the_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", taken))
        connection, _ = server.accept()
        connection.close()  # the side that closes first lingers
        client.recv(1)
        client.close()
    assert Ports().reserve("me", [Wish("tcp", 80, "", taken, taken)], ANY)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::"])
def test_nobody_else_gets_a_port_that_is_published_until_it_is_given_back(
    port: int, protocol: str, address: str
) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM

    def bind(address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, kind) as foreign:
            foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if protocol == "tcp" else 0)
            foreign.bind((address, port))

    ports = Ports()
    given = ports.reserve("me", [Wish(protocol, 80, address, port, port)], ANY)
    for other in {address, "::1" if ":" in address else "127.0.0.1"}:
        with pytest.raises(OSError, match="already in use"):
            bind(other)
    ports.release("me", given)
    bind(address)


def test_a_held_port_refuses_who_connects(port: int) -> None:
    ports = Ports()
    ports.reserve("me", [Wish("tcp", 80, "", port, port)], ANY)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_ports_of_those_who_run_already_are_held_again_or_told(port: int, caplog: pytest.LogCaptureFixture) -> None:
    binding = PortBinding(protocol="tcp", container_port=80, host_ip="0.0.0.0", host_port=port)
    with socket.create_server(("127.0.0.1", port)):
        ports = Ports()
        ports.take("me", [binding])
        assert f"0.0.0.0:{port}/tcp: address already in use" in caplog.text
    again = Ports()
    again.take("me", [binding])
    with pytest.raises(OSError, match="already in use"):
        socket.create_server(("127.0.0.1", port))
    again.close()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_the_first_free_one_of_a_range(port: int) -> None:
    ports = Ports()
    wish = [Wish("tcp", 80, "", port, port + 1)]
    assert [ports.reserve(name, wish, ANY)[0].host_port for name in ("a", "b")] == [port, port + 1]
    with pytest.raises(Exhausted, match=f"from {port} to {port + 1}"):
        ports.reserve("c", wish, ANY)


def test_any_port_is_a_different_one_each_time_and_the_same_on_all_addresses() -> None:
    ports = Ports()
    given = ports.reserve("me", [Wish("tcp", 80), Wish("tcp", 81)], ["127.0.0.1", "::1"])
    assert [one.host_ip for one in given] == ["127.0.0.1", "::1"] * 2
    assert given[0].host_port == given[1].host_port != given[2].host_port


def test_an_address_that_the_host_does_not_have() -> None:
    with pytest.raises(Invalid, match=r"203\.0\.113\.9:8080/tcp: cannot assign requested address"):
        Ports().reserve("me", [Wish("tcp", 80, "203.0.113.9", 8080, 8080)], ANY)


def test_ports_from_before_a_restart_stay_taken(port: int) -> None:
    ports = Ports()
    ports.take("me", [PortBinding(protocol="tcp", container_port=80, host_ip="0.0.0.0", host_port=port)])
    with pytest.raises(Conflict):
        ports.reserve("you", [Wish("tcp", 80, "", port, port)], ANY)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_what_has_to_be_carried_stays_open_while_it_changes_hands(port: int) -> None:
    ports, both = Ports(), ["0.0.0.0", "::"]
    first = ports.reserve("boat", [Wish("tcp", 80, "", port, port), Wish("sctp", 81)], both, ferry=True)
    assert [(one.host_ip, one.protocol) for one in first] == [("0.0.0.0", "tcp"), ("::", "tcp"), ("0.0.0.0", "sctp")]
    watched = os.dup(ports.descriptor(first[1]))
    try:
        with pytest.raises(Invalid):
            ports.exchange("boat", first, [Wish("tcp", 80, "", port, port), Wish("tcp", 1, "192.0.2.77", 1, 1)], both)
        assert os.fstat(ports.descriptor(first[1])).st_ino == os.fstat(watched).st_ino, "as before"
        given = ports.exchange("boat", first, [Wish("tcp", 82, "", port, port)], both, ferry=True)[0]
        assert os.fstat(ports.descriptor(given[1])).st_ino == os.fstat(watched).st_ino
        with socket.create_connection(("::1", port), 5):
            pass
    finally:
        os.close(watched)
    ports.release("boat", given)
    hold("tcp", "::", port)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_a_port_that_was_only_held_lets_clients_in_when_they_have_to_be_carried(port: int) -> None:
    ports, wishes = Ports(), [Wish("tcp", 80, "::1", port, port)]
    held = ports.reserve("boat", wishes, [])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", port), 5)
    ports.exchange("boat", held, wishes, [], ferry=True)
    with socket.create_connection(("::1", port), 5):
        pass


def test_a_thousand_ports_are_left_to_ipv4() -> None:
    wishes = [Wish("tcp", number) for number in range(1, 1002)]
    given = Ports().reserve("boat", wishes, ["127.0.0.1", "::1"], ferry=True)
    assert {one.host_ip for one in given} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("settings", "subnet", "carried"),
    [
        ({}, "10.5.0.0/24", ["::"]),
        ({"userland_proxy": False}, "10.5.0.0/24", []),
        ({"publish_address": "127.0.0.1"}, "10.5.0.0/24", []),
        ({}, "fd05::/64", []),
    ],
)
def test_where_a_port_is_published_for_those_who_have_no_ipv6(
    settings: dict[str, Any], subnet: str, carried: list[str]
) -> None:
    spec = NetworkSpec(id="n", name="n", driver="bridge", subnets=(Subnet(subnet=subnet),))
    assert list(publishing(NetworkConfig(**settings), Network(spec=spec, created="")).carried) == carried
