"""Published ports in every form that the docker CLI knows, who gets to them, and whose they are."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Engine, spots
from harness.net import INSIDE, OUTSIDE
from harness.spots import Spot
from sampan.linux import netns, sysctl
from sampan.testing.wires import Server, ask, links, silent

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

INSIDE_6, OUTSIDE_6 = "2001:db8::2", "2001:db8::1"
Run = Callable[..., Spot]


@pytest.fixture
def run(engine: Engine) -> Iterator[Run]:
    """``run(NAME, *FLAGS)`` is the inside of a new container."""
    names: list[str] = []

    def start(name: str, *flags: str) -> Spot:
        names.append(name)
        engine.docker("run", "-d", "--name", name, *flags, engine.image(), "sleep", "1000").ok()
        return spots.container(engine, name)

    yield start
    engine.docker("rm", "-f", *names).ok()


@pytest.fixture(scope="module")
def sixth(engine: Engine) -> str:
    """A network with IPv6, on a host with IPv6."""
    for spot, address, link in ((spots.host(engine), INSIDE_6, "up0"), (spots.outside(engine), OUTSIDE_6, "up0p")):
        spot.ip("address", "add", f"{address}/64", "dev", link, "nodad")
    if Path("/proc/sys/net/bridge").exists():  # with it, the kernel drops answers to ::1 (docs/firewall.md)
        netns.inside(engine.net.inside, lambda: sysctl.write("net/bridge/bridge-nf-call-ip6tables", "0"))
    engine.docker("network", "create", "--ipv6", "--subnet", "fd00:6::/64", "sixth").ok()
    return "sixth"


def ports(engine: Engine, name: str) -> set[str]:
    return set(engine.docker("port", name).out.splitlines())


def test_every_form(engine: Engine, run: Run) -> None:
    flags = [
        "8080:80",
        "8000-8002:80-82",
        "127.0.0.1:8200:80",
        "8300:53/udp",
        "8400:80/sctp",
        "192.0.2.2:8500-8501:90-91",
    ]
    boat = run("boat", *(word for flag in flags for word in ("-p", flag)))
    assert ports(engine, "boat") == {
        *("80/tcp -> 0.0.0.0:8080", "80/tcp -> 0.0.0.0:8000", "80/tcp -> 127.0.0.1:8200"),
        *("81/tcp -> 0.0.0.0:8001", "82/tcp -> 0.0.0.0:8002", "53/udp -> 0.0.0.0:8300", "80/sctp -> 0.0.0.0:8400"),
        *("90/tcp -> 192.0.2.2:8500", "91/tcp -> 192.0.2.2:8501"),
        *("80/tcp -> [::]:8080", "80/tcp -> [::]:8000", "81/tcp -> [::]:8001", "82/tcp -> [::]:8002"),
        "53/udp -> [::]:8300",
    }
    assert {"0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"} < set(
        engine.docker("ps", "--format", "{{.Ports}}").out.split(", ")
    )
    [told] = json.loads(engine.docker("inspect", "boat").out)
    assert {"HostIp": "0.0.0.0", "HostPort": "8080"} in told["NetworkSettings"]["Ports"]["80/tcp"]
    host, outside = spots.host(engine), spots.outside(engine)
    with Server(boat, 80), Server(boat, 82), Server(boat, 53), Server(boat, 91):
        for port in (8080, 8000, 8002, 8501):
            assert ask(outside, INSIDE, port) == OUTSIDE
            assert ask(boat, INSIDE, port), "a container reaches itself at the host's address"
        for port in (8080, 8000, 8200):
            assert ask(host, "127.0.0.1", port)
        assert silent(outside, INSIDE, 8200)
        assert silent(host, "127.0.0.1", 8501)
        assert ask(outside, INSIDE, 8300, protocol="udp") == OUTSIDE
        assert ask(host, "127.0.0.1", 8300, protocol="udp")


def test_any_port_one_of_a_range_and_all_that_are_exposed(engine: Engine, run: Run) -> None:
    boat = run("boat", "-p", "80", "-p", "8100-8101:81")
    ferry = run("ferry", "-P", "--expose", "80", "--expose", "90-91/udp", "-p", "8100-8101:81")
    told = {line.split(" -> ")[0]: line.rpartition(":")[2] for line in ports(engine, "boat") | ports(engine, "ferry")}
    assert set(told) == {"80/tcp", "81/tcp", "90/udp", "91/udp"}
    assert {line.rpartition(":")[2] for line in ports(engine, "boat") | ports(engine, "ferry") if "81/tcp" in line} == {
        "8100",
        "8101",
    }
    full = engine.docker("run", "--rm", "-p", "8100-8101:81", engine.image(), "true")
    assert full.code == 125
    assert "allocated" in full.stderr
    for name, spot in (("boat", boat), ("ferry", ferry)):
        [port] = {line.rpartition(":")[2] for line in ports(engine, name) if line.startswith("80/tcp")}
        with Server(spot, 80):
            assert ask(spots.outside(engine), INSIDE, int(port)) == OUTSIDE


def test_ipv6(engine: Engine, run: Run, sixth: str) -> None:
    boat = run("boat", "--network", sixth, "-p", "8080:80", "-p", "[::1]:8081:80", "-p", "[::]:8082:80")
    assert ports(engine, "boat") == {
        *("80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "80/tcp -> [::1]:8081", "80/tcp -> [::]:8082"),
    }
    host, outside, ferry = spots.host(engine), spots.outside(engine), run("ferry", "--network", sixth)
    with Server(boat, 80, family=socket.AF_INET6):
        assert ask(outside, INSIDE_6, 8080) == OUTSIDE_6
        assert ask(outside, INSIDE_6, 8082) == OUTSIDE_6
        assert silent(outside, INSIDE_6, 8081)
        assert ask(host, "::1", 8080)
        assert ask(host, "::1", 8081)
        assert ask(ferry, INSIDE_6, 8080)
        assert ask(boat, INSIDE_6, 8080)
    with Server(boat, 80):
        assert ask(outside, INSIDE, 8080) == OUTSIDE
        assert silent(outside, INSIDE, 8082)


def test_a_container_without_ipv6_is_reached_by_it_all_the_same(engine: Engine, run: Run, sixth: str) -> None:
    boat = run("boat", "-p", "8080:80", "-p", "[::1]:8081:80", "-p", f"[{INSIDE_6}]:8082:80", "-p", "8083:80/udp")
    host, outside = spots.host(engine), spots.outside(engine)
    with Server(boat, 80):
        told = json.loads(engine.docker("inspect", "-f", "{{json .NetworkSettings}}", "boat").out)
        assert ask(host, "::1", 8080) == told["Gateway"], "as Docker's proxy shows clients"
        assert ask(host, "::1", 8081)
        assert ask(outside, INSIDE_6, 8080)
        assert ask(outside, INSIDE_6, 8082)
        assert silent(outside, INSIDE_6, 8081)
        assert ask(outside, INSIDE_6, 8083, protocol="udp")
        engine.kill()
        assert ask(host, "::1", 8080), "it takes no daemon"
        engine.start()
        assert ask(outside, INSIDE_6, 8083, protocol="udp")
        engine.sampan("update", "--publish-add", "8084:80", "--publish-rm", "8080:80", "boat").ok()
        assert ask(outside, INSIDE_6, 8084)
        assert silent(outside, INSIDE_6, 8080)
        engine.docker("network", "connect", "--gw-priority", "1", sixth, "boat").ok()
        assert silent(host, "::1", 8084), "it has IPv6 there, and listens to IPv4 only"
        engine.docker("network", "disconnect", sixth, "boat").ok()
        assert ask(host, "::1", 8084)
    assert engine.sampan("doctor", "port", "boat:80").code == 1, "nobody listens any more"
    run("late", "-p", "8080:80")
    engine.docker("restart", "-t", "0", "boat").ok()
    assert "80/tcp -> [::]:8084" in ports(engine, "boat")


def test_on_a_host_that_has_ipv6_switched_off_nothing_is_published_there(engine: Engine, run: Run) -> None:
    netns.inside(engine.net.inside, lambda: sysctl.write("net/ipv6/conf/lo/disable_ipv6", "1"))
    try:
        run("boat", "-p", "8080:80")
        assert ports(engine, "boat") == {"80/tcp -> 0.0.0.0:8080"}
    finally:
        netns.inside(engine.net.inside, lambda: sysctl.write("net/ipv6/conf/lo/disable_ipv6", "0"))


def test_neighbours_and_strangers_reach_it_at_the_hosts_address(engine: Engine, run: Run) -> None:
    engine.docker("network", "create", "other").ok()
    try:
        boat, neighbour, stranger = (
            run("boat", "-p", "8080:80"),
            run("neighbour"),
            run("stranger", "--network", "other"),
        )
        with Server(boat, 80):
            for spot in (boat, neighbour, stranger):
                assert ask(spot, INSIDE, 8080)
            told = engine.docker("inspect", "--format", "{{.NetworkSettings.Networks.other.IPAddress}}", "stranger").out
            assert ask(stranger, INSIDE, 8080) == told, "it comes under its own address"
        engine.docker("rm", "-f", "stranger").ok()
    finally:
        engine.docker("network", "rm", "-f", "other").ok()


def test_a_port_of_another_container_is_refused_and_nothing_is_left(engine: Engine, run: Run) -> None:
    run("boat", "-p", "8080:80")
    before = engine.leftovers()
    refused = engine.docker("run", "--name", "late", "-p", "8079:79", "-p", "8080:80", engine.image(), "true")
    assert refused.code == 125
    owner = engine.docker("ps", "-q", "--filter", "name=boat").out
    for said in (refused.stderr, engine.docker("inspect", "-f", "{{.State.Error}}", "late").out):
        assert re.search(
            r"driver failed programming external connectivity on endpoint late \([0-9a-f]{64}\): "
            rf"Bind for 0\.0\.0\.0:8080 failed: port is already allocated: container {owner} has it",
            said,
        )
    refused = engine.docker("run", "--rm", "-p", "203.0.113.9:8081:80", engine.image(), "true")
    assert "failed to bind host port 203.0.113.9:8081/tcp: cannot assign requested address" in refused.stderr
    refused = engine.docker("run", "--rm", "-p", "8080-8080:80", engine.image(), "true")
    assert "port is already allocated" in refused.stderr
    engine.docker("rm", "late").ok()
    engine.assert_as_before(before)


LISTEN = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], 8080), family=family)
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::"])
def test_a_port_of_a_process_of_the_host_is_refused_and_nothing_is_left(engine: Engine, address: str) -> None:
    engine.image()
    before = engine.leftovers()
    foreign = engine.popen(sys.executable, "-c", LISTEN, address, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert foreign.stdout is not None
        assert foreign.stdout.readline() == b"listening\n"
        flag = "[::]:8080:80" if address == "::" else "8080:80"
        refused = engine.docker("run", "--rm", "-p", flag, engine.image(), "true")
        assert refused.code == 125
        place = f"{'[::]' if address == '::' else '0.0.0.0'}:8080"
        assert f"failed to bind host port {place}/tcp: address already in use: python" in refused.stderr
        assert f"(process {foreign.pid}) listens there" in refused.stderr
    finally:
        foreign.communicate()
    engine.assert_as_before(before)


def test_a_process_of_the_host_does_not_get_a_published_port_later(engine: Engine, run: Run) -> None:
    boat = run("boat", "-p", "8080:80")

    def bound() -> subprocess.CompletedProcess[bytes]:
        argv = [*engine.net.enter(engine.net.inside), sys.executable, "-c", LISTEN, "127.0.0.1"]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)

    assert b"already in use" in bound().stderr
    engine.kill()
    engine.start()
    assert b"already in use" in bound().stderr, "the next daemon holds it, too"
    with Server(boat, 80):
        assert ask(spots.host(engine), "127.0.0.1", 8080)
    engine.docker("stop", "-t", "0", "boat").ok()
    assert bound().returncode == 0


def test_a_flush_of_all_rules_is_healed_while_clients_come_and_go(engine: Engine, run: Run) -> None:
    boat = run("boat", "-p", "8080:80")
    outside = spots.outside(engine)
    before = engine.leftovers()
    with Server(boat, 80):
        for _ in range(3):
            engine.run("nft", "flush", "ruleset").ok()
            assert ask(outside, INSIDE, 8080, patience=1.0) == OUTSIDE
    engine.assert_as_before(before)
    assert before.beyond(engine.leftovers()) == {}


def test_names_and_settings_of_interfaces(engine: Engine, run: Run) -> None:
    engine.docker("network", "create", "-o", "com.docker.network.container_iface_prefix=lan", "pier").ok()
    try:
        sysctls = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
        boat = run("boat", "--network", f"name=pier,{sysctls}")
        assert "lan0" in links(boat)
        assert netns.inside(boat.fd, lambda: sysctl.read("net/ipv4/conf/lan0/log_martians")) == "1"
        ferry = run("ferry", "--network", "name=pier,driver-opt=com.docker.network.endpoint.ifname=wan")
        assert "wan" in links(ferry)
        wrong = "name=pier,driver-opt=com.docker.network.endpoint.ifname=a/b"
        refused = engine.docker("run", "--rm", "--network", wrong, engine.image(), "true")
        assert refused.code == 125
        assert "invalid interface name" in refused.stderr
        engine.docker("rm", "-f", "boat", "ferry").ok()
    finally:
        engine.docker("network", "rm", "-f", "pier").ok()


def test_gateway_modes(engine: Engine, run: Run) -> None:
    mode = "com.docker.network.bridge.gateway_mode_ipv4"
    refused = engine.docker("network", "create", "-o", f"{mode}=isolated", "open")
    assert refused.code == 1
    assert "isolated" in refused.stderr
    engine.docker("network", "create", "--subnet", "10.77.0.0/24", "-o", f"{mode}=routed", "open").ok()
    try:
        boat, outside = run("boat", "--network", "open", "--ip", "10.77.0.9", "-p", "8080:80"), spots.outside(engine)
        outside.ip("route", "replace", "10.77.0.0/24", "via", INSIDE)
        with Server(boat, 80), Server(boat, 81), Server(outside, 80):
            assert ask(outside, "10.77.0.9", 80) == OUTSIDE
            assert ask(boat, OUTSIDE, 80) == "10.77.0.9"
            assert silent(outside, "10.77.0.9", 81)
            assert silent(outside, INSIDE, 8080)
            run("ship", "--network", "open", "-p", "8080:80", "-p", "127.0.0.1:8081:80")  # the host's port is nobody's
            assert engine.docker("ps", "--filter", "name=boat", "--format", "{{.Ports}}").out == "80/tcp"
            ports = "{{json .NetworkSettings.Ports}}"
            told = json.loads(engine.docker("inspect", "-f", ports, "boat").out)
            assert told == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}]}
            engine.sampan("update", "--publish-add", "9090:81", "--publish-rm", "8080:80", "boat").ok()
            assert ask(outside, "10.77.0.9", 81) == OUTSIDE
            assert silent(outside, "10.77.0.9", 80)
        engine.docker("rm", "-f", "boat", "ship").ok()
    finally:
        engine.docker("network", "rm", "-f", "open").ok()
