"""Networks of a container that exists: connected and disconnected while it runs, while it does not, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Engine
from harness.net import INSIDE, OUTSIDE

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

SERVE = 'echo "$HOSTNAME" >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp'
EARLY, LATE, SEALED = "a-shore", "z-shore", "inland"


@pytest.fixture(scope="module")
def nets(engine: Engine, docker_cli: None) -> Iterator[None]:
    """Two networks that lead out, one before the default bridge by name and one after it, and one that does not."""
    engine.image()
    engine.docker("network", "create", "--subnet", "10.61.0.0/24", EARLY).ok()
    engine.docker("network", "create", "--subnet", "10.62.0.0/24", "--ipv6", "--subnet", "fd62::/64", LATE).ok()
    engine.docker("network", "create", "--internal", "--subnet", "10.63.0.0/24", SEALED).ok()
    yield
    engine.docker("network", "rm", EARLY, LATE, SEALED).ok()


@pytest.fixture
def boat(engine: Engine, nets: None) -> Iterator[str]:
    """A web server on the default bridge, published on port 8089."""
    engine.docker("run", "-d", "--name", "boat", "-p", "8089:80", engine.image(), "sh", "-c", SERVE).ok()
    yield "boat"
    engine.docker("rm", "-f", "boat", "thief")


def told(engine: Engine, name: str) -> dict[str, Any]:
    [one] = json.loads(engine.docker("inspect", name).out)
    return dict(one)


def settings(engine: Engine, name: str) -> dict[str, Any]:
    return dict(told(engine, name)["NetworkSettings"])


def inside(engine: Engine, name: str, *command: str) -> str:
    return engine.docker("exec", name, *command).out


def links(engine: Engine, name: str) -> list[str]:
    return inside(engine, name, "ls", "/sys/class/net").split()


def ways(engine: Engine, name: str, version: int = 4) -> list[str]:
    """The interfaces with a default route, as the kernel has them."""
    key = told(engine, name)["NetworkSettings"]["SandboxKey"]
    routes = engine.run("nsenter", f"--net={key}", "ip", "-j", f"-{version}", "route", "show", "default").out
    return [one["dev"] for one in json.loads(routes or "[]")]


def get(url: str) -> list[str]:
    return ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", url]


def answers(engine: Engine, url: str) -> bool:
    return engine.outside(*get(url)).code == 0


def published(engine: Engine) -> bool:
    return answers(engine, f"http://{INSIDE}:8089/")


def test_addresses_of_a_link_alone_are_there_for_neighbours(engine: Engine, boat: str) -> None:
    spaced = "two words"
    engine.docker("network", "create", spaced).ok()
    try:
        engine.docker(
            "network", "connect", "--link-local-ip", "169.254.8.8", "--link-local-ip", "fe80::8:8", spaced, boat
        ).ok()
        wish = settings(engine, boat)["Networks"][spaced]["IPAMConfig"]
        assert wish == {"LinkLocalIPs": ["169.254.8.8", "fe80::8:8"]}
        fetch = " ".join(get("http://169.254.8.8/"))
        words = ["--network", f"name={spaced},link-local-ip=169.254.8.9", engine.image(), "sh", "-c", fetch]
        assert engine.sampan("run", "--rm", *words).out == told(engine, boat)["Config"]["Hostname"]
        engine.docker("network", "disconnect", spaced, boat).ok()
    finally:
        engine.docker("rm", "-f", boat)
        engine.docker("network", "rm", spaced).ok()


def test_a_running_container_gets_a_place_on_one_more_network(engine: Engine, boat: str) -> None:
    words = ["--ip", "10.62.0.77", "--ip6", "fd62::77", "--alias", "ferry", "--alias", "punt"]
    words += ["--driver-opt", "colour=red"]
    before = engine.leftovers()
    # Our bridge knows no such option of an endpoint; it is kept and told, as Docker does.
    engine.docker("network", "connect", *words, LATE, boat).ok()
    assert links(engine, boat) == ["eth0", "eth1", "lo"]
    place = settings(engine, boat)["Networks"][LATE]
    assert place["IPAddress"] == "10.62.0.77"
    assert place["IPPrefixLen"] == 24
    assert place["Gateway"] == "10.62.0.1"
    assert place["GlobalIPv6Address"] == "fd62::77"
    assert place["IPv6Gateway"] == "fd62::1"
    assert place["MacAddress"] == "02:42:0a:3e:00:4d"
    assert place["Aliases"] == ["ferry", "punt"]
    assert place["DriverOpts"] == {"colour": "red"}
    assert place["IPAMConfig"] == {"IPv4Address": "10.62.0.77", "IPv6Address": "fd62::77"}
    assert place["DNSNames"][:3] == [boat, "ferry", "punt"]
    assert len(place["EndpointID"]) == 64
    [network] = json.loads(engine.docker("network", "inspect", LATE).out)
    [member] = network["Containers"].values()
    assert member == {
        "Name": boat,
        "EndpointID": place["EndpointID"],
        "MacAddress": place["MacAddress"],
        "IPv4Address": "10.62.0.77/24",
        "IPv6Address": "fd62::77/64",
    }
    run = ["run", "--rm", "--network", LATE, engine.image()]
    assert "10.62.0.77" in inside(engine, boat, "cat", "/etc/hosts")
    assert "nameserver 127.0.0.11" in inside(engine, boat, "cat", "/etc/resolv.conf")
    for url in ("http://10.62.0.77/", "http://[fd62::77]/", "http://ferry/"):
        assert engine.docker(*run, *get(url)).out == told(engine, boat)["Config"]["Hostname"]
    engine.docker("network", "disconnect", LATE, boat).ok()
    assert links(engine, boat) == ["eth0", "lo"]
    assert "10.62.0.77" not in inside(engine, boat, "cat", "/etc/hosts")
    assert list(settings(engine, boat)["Networks"]) == ["bridge"]
    assert json.loads(engine.docker("network", "inspect", LATE).out)[0]["Containers"] == {}
    events = engine.events("type=network", f"network={LATE}")
    ident = told(engine, boat)["Id"]
    mine = [each["Action"] for each in events if each["Actor"]["Attributes"].get("container") == ident]
    assert mine == ["connect", "disconnect"]
    engine.assert_as_before(before)


def test_an_address_comes_from_the_pool_and_goes_back_once(engine: Engine, boat: str) -> None:
    engine.docker("network", "connect", EARLY, boat).ok()
    first = settings(engine, boat)["Networks"][EARLY]["IPAddress"]
    assert first.startswith("10.61.0.")
    engine.docker("network", "disconnect", EARLY, boat).ok()
    engine.docker("network", "connect", "--ip", first, EARLY, boat).ok()
    other = ["run", "--rm", "--network", EARLY, "--ip", first, engine.image(), "true"]
    refused = engine.docker(*other)
    assert refused.code == 125
    assert "Address already in use" in refused.stderr
    engine.docker("network", "disconnect", EARLY, boat).ok()
    engine.docker(*other).ok()


def test_the_way_out_and_the_ports_move_to_the_better_network_and_back(engine: Engine, boat: str) -> None:
    engine.wait_until(lambda: published(engine), "the port answers")
    assert ways(engine, boat) == ["eth0"]
    engine.docker("network", "connect", EARLY, boat).ok()  # "a-shore" is before "bridge"
    assert ways(engine, boat) == ["eth1"]
    engine.wait_until(lambda: published(engine), "the port answers")
    assert settings(engine, boat)["Ports"]["80/tcp"] == [{"HostIp": ip, "HostPort": "8089"} for ip in ("0.0.0.0", "::")]
    inside(engine, boat, "busybox", "ping", "-c", "1", "-W", "2", OUTSIDE)
    engine.docker("network", "disconnect", "bridge", boat).ok()
    assert links(engine, boat) == ["eth1", "lo"]
    engine.wait_until(lambda: published(engine), "the port answers")
    engine.docker("network", "connect", "bridge", boat).ok()
    assert links(engine, boat) == ["eth0", "eth1", "lo"]
    assert ways(engine, boat) == ["eth1"]
    engine.docker("network", "disconnect", EARLY, boat).ok()
    assert ways(engine, boat) == ["eth0"]
    engine.wait_until(lambda: published(engine), "the port answers")
    engine.docker("network", "connect", "--gw-priority", "5", LATE, boat).ok()
    assert ways(engine, boat) == ["eth1"]
    assert ways(engine, boat, 6) == ["eth1"]
    assert settings(engine, boat)["Networks"][LATE]["GwPriority"] == 5
    engine.wait_until(lambda: published(engine), "the port answers")
    engine.docker("network", "disconnect", LATE, boat).ok()
    assert ways(engine, boat) == ["eth0"]
    engine.wait_until(lambda: published(engine), "the port answers")


def test_no_network_that_leads_out_means_no_way_and_no_port(engine: Engine, boat: str) -> None:
    engine.wait_until(lambda: published(engine), "the port answers")
    engine.docker("network", "connect", SEALED, boat).ok()
    assert ways(engine, boat) == ["eth0"]
    neighbour = ["run", "--rm", "--network", SEALED, engine.image()]
    address = settings(engine, boat)["Networks"][SEALED]["IPAddress"]
    engine.docker(*neighbour, *get(f"http://{address}/")).ok()
    assert engine.docker(*neighbour, "busybox", "ping", "-c", "1", "-W", "1", INSIDE).code != 0
    engine.docker("network", "disconnect", "bridge", boat).ok()
    assert ways(engine, boat) == []
    assert not published(engine)
    assert settings(engine, boat)["Ports"] == {"80/tcp": None}
    engine.docker(*neighbour, *get(f"http://{address}/")).ok()
    engine.docker("network", "connect", "bridge", boat).ok()
    engine.wait_until(lambda: published(engine), "the port answers")


def test_a_change_that_fails_leaves_the_container_as_it_was(engine: Engine, boat: str) -> None:
    """The port is somebody else's by the time that the container wants it back."""
    engine.docker("network", "connect", SEALED, boat).ok()
    engine.docker("network", "disconnect", "bridge", boat).ok()
    engine.docker("run", "-d", "--name", "thief", "-p", "8089:80", engine.image(), "sleep", "100").ok()
    before, was = engine.leftovers(), settings(engine, boat)
    refused = engine.docker("network", "connect", EARLY, boat)
    assert refused.code == 1
    assert "Bind for 0.0.0.0:8089 failed: port is already allocated" in refused.stderr
    assert settings(engine, boat) == was
    assert ways(engine, boat) == []
    engine.assert_as_before(before)
    engine.docker("rm", "-f", "thief").ok()
    engine.docker("network", "connect", EARLY, boat).ok()
    engine.wait_until(lambda: published(engine), "the port answers")


def test_a_restarted_container_comes_back_with_all_of_its_networks(engine: Engine, boat: str) -> None:
    engine.docker("network", "connect", "--ip", "10.62.0.9", LATE, boat).ok()
    engine.docker("network", "connect", SEALED, boat).ok()
    engine.docker("restart", "-t", "0", boat).ok()
    assert links(engine, boat) == ["eth0", "eth1", "eth2", "lo"]
    assert settings(engine, boat)["Networks"][LATE]["IPAddress"] == "10.62.0.9"
    engine.docker("stop", "-t", "0", boat).ok()
    stopped = settings(engine, boat)["Networks"]
    assert [place["EndpointID"] for place in stopped.values()] == ["", "", ""]
    assert json.loads(engine.docker("network", "inspect", LATE).out)[0]["Containers"] == {}
    # Nobody holds the address of what does not run.
    engine.docker("run", "--rm", "--network", LATE, "--ip", "10.62.0.9", engine.image(), "true").ok()
    engine.docker("network", "disconnect", LATE, boat).ok()
    engine.docker("network", "connect", EARLY, boat).ok()
    engine.docker("start", boat).ok()
    assert sorted(settings(engine, boat)["Networks"]) == [EARLY, "bridge", SEALED]
    engine.wait_until(lambda: published(engine), "the port answers")


def test_a_paused_and_a_created_container_can_be_connected(engine: Engine, boat: str) -> None:
    engine.docker("pause", boat).ok()
    engine.docker("network", "connect", LATE, boat).ok()
    engine.docker("unpause", boat).ok()
    assert links(engine, boat) == ["eth0", "eth1", "lo"]
    engine.docker("create", "--name", "raft", engine.image(), "ls", "/sys/class/net").ok()
    engine.sampan("network", "connect", "--ip", "10.62.0.50", "--alias", "log", LATE, "raft").ok()
    engine.sampan("network", "connect", SEALED, "raft").ok()
    engine.sampan("network", "disconnect", "bridge", "raft").ok()
    assert engine.docker("start", "-a", "raft").out.split() == ["eth0", "eth1", "lo"]
    engine.docker("rm", "raft").ok()


def test_it_is_still_so_after_the_daemon_was_killed(engine: Engine, boat: str) -> None:
    engine.docker("network", "connect", EARLY, boat).ok()
    engine.docker("network", "connect", SEALED, boat).ok()
    was = settings(engine, boat)
    engine.kill()
    engine.start()
    assert settings(engine, boat) == was
    assert ways(engine, boat) == ["eth1"]
    engine.wait_until(lambda: published(engine), "the port answers")
    engine.docker("network", "disconnect", EARLY, boat).ok()
    assert ways(engine, boat) == ["eth0"]
    engine.wait_until(lambda: published(engine), "the port answers")


REFUSALS = [
    (["connect", EARLY, "boat"], "endpoint with name boat already exists in network a-shore"),
    (["connect", "host", "boat"], "cannot connect container to host network - container must be created in host"),
    (
        ["connect", "none", "boat"],
        "container cannot be connected to multiple networks with one of the networks in priv",
    ),
    (
        ["connect", EARLY, "alone"],
        "container cannot be connected to multiple networks with one of the networks in priv",
    ),
    (["connect", EARLY, "host-boat"], "container sharing network namespace with another container or host cannot be"),
    (["connect", EARLY, "guest"], "container sharing network namespace with another container or host cannot be"),
    (["disconnect", "host", "host-boat"], "cannot disconnect container from host network - container was created in h"),
    (["disconnect", LATE, "boat"], "is not connected to network z-shore"),
    (["disconnect", LATE, "stopped"], "is not connected to the network z-shore"),
    (["connect", "nowhere", "boat"], "network nowhere not found"),
    (["disconnect", "nowhere", "boat"], "network nowhere not found"),
    (["connect", EARLY, "nobody"], "No such container: nobody"),
    (
        ["connect", "--ip", "10.62.1.1", LATE, "boat"],
        "no configured subnet or ip-range contain the IP address 10.62.",
    ),
    (["connect", "--ip", "10.62.0.1", LATE, "boat"], "Address already in use"),
    (["connect", "--ip", "10.99.0.5", "picked", "boat"], "user specified IP address is supported only when connecting"),
    (["connect", "--ip", "x", LATE, "stopped"], "invalid"),
    (["connect", "--alias", "x", "bridge", "elsewhere"], "network-scoped alias is supported only for containers in u"),
    (["connect", "--ip", "172.17.0.9", "bridge", "elsewhere"], "user specified IP address is supported on user defin"),
]


@pytest.fixture(scope="module")
def fleet(engine: Engine, nets: None) -> Iterator[None]:
    run = ["run", "-d", "--name"]
    rest = [engine.image(), "sleep", "1000"]
    engine.docker("network", "create", "picked").ok()
    engine.docker(*run, "boat", "--network", EARLY, *rest).ok()
    engine.docker(*run, "alone", "--network", "none", *rest).ok()
    engine.docker(*run, "host-boat", "--network", "host", *rest).ok()
    engine.docker(*run, "guest", "--network", "container:boat", *rest).ok()
    engine.docker(*run, "elsewhere", "--network", SEALED, *rest).ok()
    engine.docker("create", "--name", "stopped", *rest).ok()
    yield
    engine.docker("rm", "-f", "boat", "alone", "host-boat", "guest", "elsewhere", "stopped").ok()
    engine.docker("network", "rm", "picked").ok()


@pytest.mark.parametrize(("words", "sentence"), REFUSALS, ids=[" ".join(words) for words, _ in REFUSALS])
def test_what_cannot_be_is_refused_in_dockers_words(
    engine: Engine, fleet: None, words: list[str], sentence: str
) -> None:
    refused = engine.docker("network", *words)
    assert refused.code == 1
    assert sentence in refused.stderr
    assert links(engine, "boat") == ["eth0", "lo"]
