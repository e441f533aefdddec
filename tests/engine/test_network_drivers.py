"""Network drivers other than bridge, through the docker CLI and with packets: neighbours of the host's, and CNI."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Engine
from harness.net import INSIDE, Net, run

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

PARENT = "trunk0"
SUBNET, GATEWAY, SUBNET_6, GATEWAY_6 = "172.30.0.0/24", "172.30.0.254", "fd00:30::/64", "fd00:30::fe"
WORLD = "203.0.113.7"
"""An address beyond the gateway."""


class Trunk:
    """A link of the engine's host, and somebody else's network behind it, with the gateway to the world."""

    def __init__(self, engine: Engine) -> None:
        self.inside, self.path = engine.net.inside, engine.root / "net-beyond"
        self.path.touch()
        run("unshare", f"--net={self.path}", "true")

    def lay(self) -> None:
        with self.path.open() as namespace:
            number = namespace.fileno()
            ip = [*Net.enter(self.inside), "ip"]
            run(*ip, "link", "add", PARENT, "type", "veth", "peer", "name", "cable")
            run(*ip, "link", "set", "cable", "netns", f"/proc/self/fd/{number}", keep=number)
            run(*ip, "link", "set", PARENT, "up")
        for address in (f"{GATEWAY}/24", f"{GATEWAY_6}/64"):
            self.run("ip", "address", "add", address, "dev", "cable", *(["nodad"] if ":" in address else []))
        self.run("ip", "address", "replace", f"{WORLD}/32", "dev", "lo")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "cable", "up")

    def run(self, *command: str) -> str:
        return run(*Net.enter(self.path), *command)

    def cut(self) -> None:
        run(*Net.enter(self.inside), "ip", "link", "delete", PARENT)

    def remove(self) -> None:
        run("umount", "--lazy", self.path)


@pytest.fixture(scope="module")
def trunk(engine: Engine) -> Iterator[Trunk]:
    engine.image()
    trunk = Trunk(engine)
    trunk.lay()
    yield trunk
    trunk.remove()


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    """What the test's network is called, and what its containers' and networks' names begin with."""
    name = f"boat-{uuid.uuid4().hex[:8]}"
    yield name
    engine.docker("rm", "-f", f"{name}-1", f"{name}-2").ok()
    for network in engine.docker("network", "ls", "-q", "--filter", f"name={name}").out.split():
        engine.docker("network", "rm", network).ok()


def create(engine: Engine, name: str, *options: str, driver: str = "macvlan") -> None:
    ranges = ("--subnet", SUBNET, "--gateway", GATEWAY, "--ipv6", "--subnet", SUBNET_6, "--gateway", GATEWAY_6)
    engine.docker("network", "create", "-d", driver, *ranges, *options, name).ok()


def endpoint(engine: Engine, container: str, network: str) -> dict[str, Any]:
    [told] = json.loads(engine.docker("inspect", container).out)
    found: dict[str, Any] = told["NetworkSettings"]["Networks"][network]
    return found


def pings(engine: Engine, container: str, address: str) -> bool:
    return engine.docker("exec", container, "ping", "-c", "1", "-W", "5", address).code == 0


def test_info_lists_the_drivers_of_networks(engine: Engine) -> None:
    plugins = json.loads(engine.docker("info", "--format", "{{json .Plugins.Network}}").out)
    assert {"bridge", "host", "macvlan"} <= set(plugins)


def test_a_macvlan_container_is_a_neighbour_of_whoever_is_behind_the_parent(
    engine: Engine, trunk: Trunk, name: str
) -> None:
    create(engine, name, "-o", f"parent={PARENT}")
    run_ = ("run", "-d", "--network", name)
    engine.docker(*run_, "--name", f"{name}-1", "--ip", "172.30.0.77", "shell", "sleep", "1000").ok()
    engine.docker(*run_, "--name", f"{name}-2", "--mac-address", "02:00:00:00:00:77", "shell", "sleep", "1000").ok()
    told = endpoint(engine, f"{name}-1", name)
    assert (told["IPAddress"], told["Gateway"]) == ("172.30.0.77", GATEWAY)
    assert told["IPv6Gateway"] == GATEWAY_6
    other = endpoint(engine, f"{name}-2", name)
    assert other["MacAddress"] == "02:00:00:00:00:77"
    assert engine.docker("exec", f"{name}-2", "cat", "/sys/class/net/eth0/address").out == "02:00:00:00:00:77"
    for address in (GATEWAY, GATEWAY_6, WORLD, other["IPAddress"], other["GlobalIPv6Address"]):
        assert pings(engine, f"{name}-1", address), address
    for address in ("172.30.0.77", told["GlobalIPv6Address"]):
        trunk.run("ping", "-c", "1", "-W", "5", address)
    [network] = json.loads(engine.docker("network", "inspect", name).out)
    assert network["Driver"] == "macvlan"
    assert network["Options"] == {"parent": PARENT}
    assert len(network["Containers"]) == 2


@pytest.mark.parametrize("options", [("--internal", "-o", f"parent={PARENT}"), ()])
def test_a_macvlan_network_that_is_internal_or_has_no_parent_leads_nowhere(
    engine: Engine, trunk: Trunk, name: str, options: tuple[str, ...]
) -> None:
    create(engine, name, *options)
    run_ = ("run", "-d", "--network", name, "--cap-add", "NET_ADMIN")
    for one in ("1", "2"):
        engine.docker(*run_, "--name", f"{name}-{one}", "shell", "sleep", "1000").ok()
    assert pings(engine, f"{name}-1", endpoint(engine, f"{name}-2", name)["IPAddress"])
    engine.docker("exec", f"{name}-1", "ip", "route", "add", "default", "via", GATEWAY).ok()
    assert engine.docker("exec", f"{name}-1", "ping", "-c", "1", "-W", "1", GATEWAY).code
    assert engine.docker("exec", f"{name}-1", "ping", "-c", "1", "-W", "1", WORLD).code


def test_what_was_lost_while_the_daemon_was_dead_is_put_back_and_what_is_right_is_left_alone(
    engine: Engine, trunk: Trunk, name: str
) -> None:
    create(engine, name, "-o", f"parent={PARENT}")
    for one in ("1", "2"):
        engine.docker("run", "-d", "--name", f"{name}-{one}", "--network", name, "shell", "sleep", "1000").ok()
    address = endpoint(engine, f"{name}-1", name)["IPAddress"]
    [one, two] = [int(engine.docker("inspect", "-f", "{{.State.Pid}}", f"{name}-{n}").out) for n in "12"]
    before = _index(one)
    run("nsenter", "-t", two, "-n", "ip", "link", "delete", "eth0")
    engine.kill()
    trunk.run("ping", "-c", "1", "-W", "5", address)
    engine.start()
    assert _index(one) == before
    assert pings(engine, f"{name}-2", address)
    assert pings(engine, f"{name}-2", WORLD)


def test_a_parent_that_is_gone_is_one_sentence_and_nobody_else_suffers(engine: Engine, trunk: Trunk, name: str) -> None:
    create(engine, name, "-o", f"parent={PARENT}")
    engine.docker("run", "-d", "--name", f"{name}-1", "--network", name, "shell", "sleep", "1000").ok()
    trunk.cut()
    try:
        engine.kill()
        engine.start()
        refused = engine.docker("run", "--rm", "--network", name, "shell", "true")
        assert refused.code == 125
        assert f"network '{name}' has lost its parent link '{PARENT}'" in refused.stderr
        engine.docker("run", "--rm", "shell", "true").ok()
        engine.docker("rm", "-f", f"{name}-1").ok()
        engine.docker("network", "rm", name).ok()
    finally:
        trunk.lay()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "parent=nosuch0"), "'nosuch0'"),
        (("-o", "parent=../../x"), "'../../x'"),
        (("-o", "parent=lo"), "loopback interface is not a valid macvlan parent link"),
        (("-o", "macvlan_mode=open"), "requested macvlan mode 'open' is not valid"),
    ],
)
def test_a_macvlan_network_that_cannot_be_is_refused_in_a_sentence(
    engine: Engine, trunk: Trunk, name: str, options: tuple[str, ...], said: str
) -> None:
    refused = engine.docker("network", "create", "-d", "macvlan", *options, name)
    assert refused.code == 1
    assert said in refused.stderr
    assert engine.docker("network", "inspect", name).code == 1


def test_a_parent_is_shared_unless_somebody_wants_it_whole(engine: Engine, trunk: Trunk, name: str) -> None:
    create(engine, name, "-o", f"parent={PARENT}")
    other = ("network", "create", "-d", "macvlan", "-o", f"parent={PARENT}")
    engine.docker(*other, "--subnet", "172.31.0.0/24", f"{name}-2").ok()
    refused = engine.docker(*other, "-o", "macvlan_mode=passthru", f"{name}-3")
    assert "cannot use mode passthru, macvlan network " in refused.stderr


def _index(pid: int) -> str:
    return run("nsenter", "-t", pid, "-n", "cat", "/sys/class/net/eth0/ifindex")


# ── ipvlan ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ipvlan(engine: Engine) -> None:
    plugins = json.loads(engine.docker("info", "--format", "{{json .Plugins.Network}}").out)
    if "ipvlan" not in plugins:
        pytest.skip("this kernel makes no ipvlan links")


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_an_ipvlan_container_is_reached_from_behind_the_parent(
    engine: Engine, trunk: Trunk, name: str, ipvlan: None, mode: str
) -> None:
    create(engine, name, "-o", f"parent={PARENT}", "-o", f"ipvlan_mode={mode}", driver="ipvlan")
    for one in "12":
        engine.docker("run", "-d", "--name", f"{name}-{one}", "--network", name, "shell", "sleep", "1000").ok()
    told, other = (endpoint(engine, f"{name}-{one}", name) for one in "12")
    assert told["MacAddress"] == ""
    for address in (GATEWAY, WORLD, other["IPAddress"]):
        assert pings(engine, f"{name}-1", address), address
    refused = engine.docker("run", "--rm", "--network", name, "--mac-address", "02:00:00:00:00:01", "shell", "true")
    assert "ipvlan interfaces do not support custom mac address assignment" in refused.stderr
    way = engine.docker("exec", f"{name}-1", "ip", "-4", "route", "show", "default").out
    assert ("via" in way) == (mode == "l2")


def test_a_kernel_without_ipvlan_is_named(engine: Engine, name: str) -> None:
    plugins = json.loads(engine.docker("info", "--format", "{{json .Plugins.Network}}").out)
    if "ipvlan" in plugins:
        pytest.skip("this kernel makes ipvlan links")
    assert "this kernel makes no ipvlan links" in engine.docker("network", "create", "-d", "ipvlan", name).stderr


# ── cni ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

SERVE = 'echo "aboard" >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp'


@pytest.fixture(scope="module")
def cni(engine: Engine) -> str:
    """A configuration; what its plugins make once and keep is made."""
    if not Path("/usr/lib/cni/portmap").exists():
        pytest.skip("there are no CNI plugins here (containernetworking-plugins)")
    engine.image()
    ranges, routes = [[{"subnet": "10.77.0.0/24"}]], [{"dst": "0.0.0.0/0"}]
    ipam = {"type": "host-local", "dataDir": f"{engine.root}/ipam", "ranges": ranges, "routes": routes}
    ptp = {"type": "ptp", "ipMasq": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    config = json.dumps({"cniVersion": "1.0.0", "name": "lan", "plugins": [ptp, ports]})
    engine.docker("network", "create", "-d", "cni", "-o", f"config={config}", "first").ok()
    engine.docker("run", "--rm", "--network", "first", "-p", "8076:80", "shell", "true").ok()
    engine.docker("network", "rm", "first").ok()
    return config


def test_a_cni_network_has_its_plugins_addresses_ports_and_names(engine: Engine, cni: str, name: str) -> None:
    engine.docker("network", "create", "-d", "cni", "-o", f"config={cni}", name).ok()
    serve = ("shell", "sh", "-c", SERVE)
    engine.docker("run", "-d", "--name", f"{name}-1", "--network", name, "-p", "8077:80", *serve).ok()
    told = endpoint(engine, f"{name}-1", name)
    assert told["IPAddress"].startswith("10.77.0.")
    assert told["IPPrefixLen"] == 24
    engine.docker("run", "-d", "--name", f"{name}-2", "--network", name, "shell", "sleep", "1000").ok()
    for where in (told["IPAddress"], f"{name}-1"):
        fetched = engine.docker("exec", f"{name}-2", "busybox", "wget", "-q", "-O", "-", f"http://{where}/")
        assert fetched.out == "aboard", where
    assert engine.outside("curl", "-sS", "-m", "5", f"http://{INSIDE}:8077/").out == "aboard"
    assert engine.run("curl", "-sS", "-m", "5", "http://127.0.0.1:8077/").out == "aboard"


def test_what_cni_plugins_made_outlives_the_daemon_and_is_deleted_by_the_next(
    engine: Engine, cni: str, name: str
) -> None:
    engine.docker("network", "create", "-d", "cni", "-o", f"config={cni}", name).ok()
    serve = ("shell", "sh", "-c", SERVE)
    engine.docker("run", "-d", "--name", f"{name}-1", "--network", name, "-p", "8077:80", *serve).ok()
    engine.docker("run", "-d", "--name", f"{name}-2", "--network", name, "shell", "sleep", "1000").ok()
    pid = int(engine.docker("inspect", "-f", "{{.State.Pid}}", f"{name}-2").out)
    address, index = endpoint(engine, f"{name}-1", name)["IPAddress"], _index(pid)
    engine.kill()
    engine.run("nft", "flush", "chain", "ip", "nat", "CNI-HOSTPORT-DNAT").ok()
    os.kill(pid, signal.SIGKILL)
    engine.start()
    assert engine.outside("curl", "-sS", "-m", "5", f"http://{INSIDE}:8077/").out == "aboard"
    assert endpoint(engine, f"{name}-1", name)["IPAddress"] == address
    assert index


def test_a_cni_plugin_that_fails_is_a_sentence_and_leaves_nothing(engine: Engine, cni: str, name: str) -> None:
    config = json.dumps({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "nosuch0", "ipam": {}})
    engine.docker("network", "create", "-d", "cni", "-o", f"config={config}", name).ok()
    refused = engine.docker("run", "--rm", "--network", name, "shell", "true")
    assert refused.code == 125
    assert "CNI plugin 'macvlan' failed to ADD: " in refused.stderr
    refused = engine.docker("network", "create", "-d", "cni", "-o", "conf=nosuch", f"{name}-2")
    assert "no CNI network configuration with the name 'nosuch'" in refused.stderr
