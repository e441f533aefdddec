"""The pictures from which people learn networking, as packets: out, in, the default bridge, an internal one, both."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from harness import Engine, spots
from harness.net import INSIDE, OUTSIDE
from harness.spots import Spot
from sampan.linux import netns, sysctl
from sampan.testing.wires import SILENCE, Server, ask, silent

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

Run = Callable[..., Spot]


@pytest.fixture
def run(engine: Engine) -> Iterator[Run]:
    """``run(NAME, *FLAGS)`` is the inside of a new container; networks called ``hidden`` or ``mine`` go with it."""
    names: list[str] = ["both"]

    def start(name: str, *flags: str) -> Spot:
        names.append(name)
        engine.docker("run", "-d", "--name", name, *flags, engine.image(), "sleep", "1000").ok()
        return spots.container(engine, name)

    yield start
    engine.docker("rm", "-f", *names).ok()
    for network in ("hidden", "mine"):
        engine.docker("network", "rm", "-f", network)


@pytest.fixture
def host(engine: Engine) -> Spot:
    return spots.host(engine)


@pytest.fixture
def outside(engine: Engine) -> Spot:
    return spots.outside(engine)


def address(engine: Engine, name: str, network: str = "bridge") -> str:
    wanted = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return engine.docker("inspect", "--format", wanted, name).out


def test_outbound_traffic_leaves_under_the_hosts_address(run: Run, outside: Spot) -> None:
    boat = run("boat")
    with Server(outside, 80):
        for protocol in ("tcp", "udp"):
            assert ask(boat, OUTSIDE, 80, protocol=protocol) == INSIDE


def test_inbound_traffic_comes_in_by_published_ports_only_and_under_its_own_address(
    engine: Engine, run: Run, outside: Spot, host: Spot
) -> None:
    boat = run("boat", "-p", "8080:80", "-p", "8080:80/udp")
    outside.ip("route", "replace", "172.16.0.0/12", "via", INSIDE)
    with Server(boat, 80), Server(boat, 81):
        for protocol in ("tcp", "udp"):
            assert ask(outside, INSIDE, 8080, protocol=protocol) == OUTSIDE
            assert ask(host, "127.0.0.1", 8080, protocol=protocol)
        assert silent(outside, INSIDE, 81)
        for port in (80, 81):
            assert silent(outside, address(engine, "boat"), port)


def test_the_default_bridge_joins_its_containers(engine: Engine, run: Run, host: Spot) -> None:
    boat, ferry = run("boat"), run("ferry")
    with Server(boat, 80), Server(ferry, 80), Server(host, 81):
        assert ask(boat, address(engine, "ferry"), 80) == address(engine, "boat")
        assert ask(ferry, address(engine, "boat"), 80) == address(engine, "ferry")
        assert ask(host, address(engine, "boat"), 80)
        gateway = engine.docker("inspect", "--format", "{{.NetworkSettings.Gateway}}", "boat").out
        assert ask(boat, gateway, 81) == address(engine, "boat")
    assert engine.docker("exec", "boat", "busybox", "nslookup", "ferry").code != 0, "the default bridge knows no names"


def test_bridges_of_ones_own_are_apart(engine: Engine, run: Run) -> None:
    engine.docker("network", "create", "mine").ok()
    boat, ferry = run("boat"), run("ferry", "--network", "mine", "-p", "8081:80")
    with Server(boat, 80), Server(ferry, 80):
        assert silent(boat, address(engine, "ferry", "mine"), 80)
        assert silent(ferry, address(engine, "boat"), 80)
        assert ask(boat, INSIDE, 8081), "what is published is reached at the host's address"


def test_an_internal_bridge_leads_nowhere(engine: Engine, run: Run, host: Spot, outside: Spot) -> None:
    engine.docker("network", "create", "--internal", "hidden").ok()
    boat, ferry = run("boat", "--network", "hidden"), run("ferry", "--network", "hidden")
    with Server(ferry, 80), Server(outside, 80), Server(host, 81):
        assert ask(boat, address(engine, "ferry", "hidden"), 80) == address(engine, "boat", "hidden")
        assert ask(host, address(engine, "ferry", "hidden"), 80), "the host reaches its containers"
        assert not boat.ip("route", "show", "default")
        gateway = engine.docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "hidden").out
        boat.ip("route", "add", "default", "via", gateway)  # as if it were hostile
        for target, port in ((OUTSIDE, 80), (INSIDE, 81), (gateway, 81)):
            assert silent(boat, target, port), target
        outside.ip("route", "replace", "172.16.0.0/12", "via", INSIDE)
        assert silent(outside, address(engine, "ferry", "hidden"), 80)


@pytest.mark.parametrize("how", ["created", "connected"])
def test_a_container_on_both_speaks_to_both_and_is_no_way_between_them(
    engine: Engine, run: Run, outside: Spot, host: Spot, how: str
) -> None:
    engine.docker("network", "create", "--internal", "hidden").ok()
    if how == "created":
        both = on_both(engine)
    else:
        both = run("both", "-p", "8080:80")
        engine.docker("network", "connect", "hidden", "both").ok()
    peer, neighbour = run("peer", "--network", "hidden"), run("neighbour")
    inner, outer = address(engine, "both", "hidden"), address(engine, "both")
    with Server(both, 80), Server(peer, 80), Server(neighbour, 80), Server(outside, 80), Server(host, 81):
        assert ask(both, address(engine, "peer", "hidden"), 80) == inner
        assert ask(both, address(engine, "neighbour"), 80) == outer
        assert ask(both, OUTSIDE, 80) == INSIDE
        assert ask(outside, INSIDE, 8080) == OUTSIDE
        assert ask(peer, inner, 80) == address(engine, "peer", "hidden")
        assert ask(neighbour, outer, 80) == address(engine, "neighbour")
        # The peer tries to get out through the container, under its own address and under borrowed ones.
        peer.ip("route", "add", "default", "via", inner)
        for target, port in ((OUTSIDE, 80), (INSIDE, 81), (address(engine, "neighbour"), 80)):
            assert silent(peer, target, port), target
        assert not heard_from(peer, outside, [address(engine, "neighbour"), outer.rpartition(".")[0] + ".250"])
        # And a neighbour outside tries to get in.
        neighbour.ip("route", "add", address(engine, "peer", "hidden"), "via", outer)
        assert silent(neighbour, address(engine, "peer", "hidden"), 80)
    assert netns.inside(both.fd, lambda: sysctl.read("net/ipv4/ip_forward")) == "0"


def on_both(engine: Engine) -> Spot:
    """A container on ``bridge`` and ``hidden``, with a published port: the docker CLI does not put it there at once."""
    body = {
        "Image": engine.image(),
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {}, "hidden": {}}},
    }
    assert engine.api("POST", "/containers/create?name=both", body)[0] == 201
    engine.docker("start", "both").ok()
    return spots.container(engine, "both")


def heard_from(peer: Spot, outside: Spot, borrowed: list[str]) -> bool:
    """Does anything arrive outside of what the peer sends under addresses that are not its own?"""
    with outside.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", 9))
        listener.settimeout(SILENCE)
        for number, one in enumerate(borrowed):
            peer.ip("address", "add", f"{one}/32", "dev", "lo")
            with peer.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((one, 5000 + number))
                for _ in range(3):
                    sender.sendto(b"let me out", (OUTSIDE, 9))
        try:
            return bool(listener.recv(64))
        except TimeoutError:
            return False
