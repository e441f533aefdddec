"""``cni`` goes through the suite of network drivers with Debian's plugins; and what plugins may do wrong."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Host
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unavailable, Unsupported
from sampan.testing import wires
from sampan.testing.beyond import Beyond
from sampan.testing.network import HOST_ADDRESS, OUTSIDE_ADDRESS, NetworkDriverTests
from sampan.testing.places import Net, Place
from sampan.testing.wires import Namespace, Server, ask, links, rules
from sampan_network.cni.driver import Cni

PLUGINS = Path("/usr/lib/cni")
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}

pytestmark = pytest.mark.skipif(
    not (PLUGINS / "portmap").exists(), reason="there are no CNI plugins here (containernetworking-plugins)"
)


def addresses(directory: Path, number: int, *, ipv6: bool = False) -> dict[str, Any]:
    """host-local with a default route."""
    ranges = [[{"subnet": f"10.2{number}.0.0/16"}], *([[{"subnet": f"fd00:{number}::/64"}]] if ipv6 else [])]
    routes = [{"dst": "0.0.0.0/0"}, *([{"dst": "::/0"}] if ipv6 else [])]
    return {"type": "host-local", "dataDir": str(directory / "ipam"), "ranges": ranges, "routes": routes}


def conflist(*plugins: dict[str, Any], name: str = "kit", **more: Any) -> str:
    return json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": plugins, **more})


def portmap(verb: str, world: Namespace) -> None:
    port = [{"hostPort": 1, "containerPort": 1, "protocol": "tcp"}]
    request: dict[str, Any] = {"cniVersion": "1.0.0", "name": "first", "runtimeConfig": {"portMappings": port}}
    request["prevResult"] = {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/8"}, {"address": "fd00::1/8"}]}
    subprocess.run(
        [PLUGINS / "portmap"],
        input=json.dumps(request | {"type": "portmap"}).encode(),
        env={
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": "first",
            "CNI_NETNS": str(world.path),
            "CNI_IFNAME": "lo",
            "CNI_PATH": str(PLUGINS),
            "PATH": os.environ["PATH"],
        },
        check=True,
        capture_output=True,
    )


class TestCni(NetworkDriverTests):
    driver_name = "cni"

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        return Cni(host, Cni.Options(patience=30.0))

    @pytest.fixture
    def options(self, world: wires.Host, tmp_path: Path) -> Callable[..., Mapping[str, str]]:
        for verb in ("ADD", "DEL"):  # what portmap makes once in a host's firewall and leaves there for good
            portmap(verb, world)

        def config(number: int, ipv6: bool) -> Mapping[str, str]:
            ptp = {"type": "ptp", "ipMasq": True, "ipam": addresses(tmp_path, number, ipv6=ipv6)}
            return {"config": conflist(ptp, PORTMAP, name=f"kit{number}")}

        return config


class Stand:
    """A driver with plugins in two directories: a test's own, and Debian's."""

    def __init__(self, world: wires.Host, directory: Path) -> None:
        self.world, self.directory = world, directory
        self.plugins, self.notes = directory / "plugins", directory / "notes"
        self.plugins.mkdir()
        self.notes.mkdir()
        (directory / "conf").mkdir()
        self.host = Host(instance="5a3b9c01", data_root=directory / "data", exec_root=directory / "exec")
        self.driver = self.afresh()

    def afresh(self, patience: float = 20.0) -> Cni:
        options = Cni.Options(
            plugin_dirs=[str(self.plugins), str(PLUGINS)], conf_dir=str(self.directory / "conf"), patience=patience
        )
        return Cni(self.host, options)

    def net(self, config: str, *, number: int = 1, option: str = "config") -> Net:
        net = Net(self.driver, number, options={option: config})
        self.driver.validate(net.spec)
        self.driver.create_network(net.spec)
        return net

    def plugin(self, name: str, script: str) -> dict[str, str]:
        """A plugin that is a script; ``$N`` is where it may leave notes."""
        path = self.plugins / name
        path.write_text(f"#!/bin/sh\nN={self.notes}\n{script}\n")
        path.chmod(0o755)
        return {"type": name}

    def noting(self, name: str = "noting", *, answer: str = "cat $N/answer") -> dict[str, str]:
        """A plugin that notes how it was called, in the order of the calls, and answers what it is told to answer."""
        (self.notes / "answer").write_text('{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.9/24"}]}')
        call = "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME ${CNI_NETNS:-gone}"
        script = f'IN=$(cat); echo {name} {call} >> $N/calls; echo "$IN" > $N/{name}.$CNI_COMMAND\n'
        return self.plugin(name, f'{script}[ "$CNI_COMMAND" = ADD ] && {{ {answer}; }} || true')

    def calls(self) -> list[list[str]]:
        path = self.notes / "calls"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def read(self, name: str) -> Any:
        return json.loads((self.notes / name).read_text())


@pytest.fixture
def stand(sampan_root: None, tmp_path: Path) -> Any:
    with wires.own_network() as world:
        yield Stand(world, tmp_path)
        wires.let_go(tmp_path)


def lies(stand: Stand) -> tuple[list[Path], list[Path]]:
    """What the driver keeps of endpoints."""
    found = [sorted(one.rglob("*")) for one in (stand.host.data_root, stand.host.exec_root)]
    return [path for path in found[0] if path.is_file()], [path for path in found[1] if path.is_file()]


# ── real plugins ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bridge_with_addresses_and_ports_leads_out_and_in(stand: Stand) -> None:
    outside = Namespace()
    wires.wire(stand.world, outside, host_address=f"{HOST_ADDRESS}/24", outside_address=f"{OUTSIDE_ADDRESS}/24")
    bridge = {"type": "bridge", "bridge": "cni7", "isGateway": True, "ipMasq": True}
    net = stand.net(conflist(bridge | {"ipam": addresses(stand.directory, 1)}, PORTMAP))
    one, other = net.join(), net.join()
    assert links(stand.world)["cni7"]["addr_info"][0]["local"] == "10.21.0.1"
    one.publish(8080)
    with Server(one.sandbox, 80), Server(outside, 80):
        assert ask(other.sandbox, one.address, 80) == other.address
        assert ask(outside, HOST_ADDRESS, 8080) == OUTSIDE_ADDRESS
        assert ask(one.sandbox, OUTSIDE_ADDRESS, 80) == HOST_ADDRESS
    one.leave()
    other.leave()
    assert set(links(stand.world)) == {"lo", "cni7", f"wire{outside.fd}"}, "a bridge is the plugin's to keep"
    assert lies(stand) == ([], [])
    outside.close()


def test_a_macvlan_is_a_neighbour_of_whoever_is_behind_its_master(stand: Stand) -> None:
    beyond = Beyond(stand.world, 1)
    net = stand.net(
        conflist({"type": "macvlan", "master": beyond.parent, "ipam": addresses(stand.directory, 1)}, name="lan")
    )
    place = net.join()
    with Server(beyond, 80):
        assert ask(place.sandbox, "203.0.113.1", 80) == place.address
    with pytest.raises(Unsupported, match="portMappings"):
        place.publish(8080)
    place.leave()
    assert set(links(place.sandbox)) == {"lo"}
    beyond.close()


def test_a_configuration_is_found_by_its_name(stand: Stand) -> None:
    ptp = {"cniVersion": "0.4.0", "name": "wanted", "type": "ptp", "ipam": addresses(stand.directory, 1)}
    for name, text in (("10-other.conflist", conflist({"type": "ptp"}, name="other")), ("20-x.conf", json.dumps(ptp))):
        (stand.directory / "conf" / name).write_text(text)
    (stand.directory / "conf" / "00-broken.conf").write_text("{")
    place = stand.net("wanted", option="conf").join()
    assert place.address == "10.21.0.2"
    for path in (stand.directory / "conf").iterdir():
        path.unlink()
    place.leave()  # as it was added, whatever has become of the file
    assert set(links(stand.world)) == {"lo"}
    with pytest.raises(NotFound, match="wanted"):
        place.net.join()


# ── what plugins are told ────────────────────────────────────────────────────────────────────────────────────────────


def test_plugins_are_told_what_the_specification_says(stand: Stand) -> None:
    first, ports = stand.noting("first"), stand.noting("ports") | {"capabilities": {"portMappings": True}}
    place = stand.net(conflist(first, ports, name="told")).join()
    assert place.endpoint.addresses == ("10.9.0.9/24",)
    place.publish(8080)
    place.publish(8081, port=81)
    place.leave()
    one, ident = place.endpoint, place.endpoint.container
    held = str(stand.host.exec_root / "namespaces" / one.id)
    order = ["first ADD", "ports ADD", "ports DEL", "ports ADD", "ports DEL", "ports ADD", "ports DEL", "first DEL"]
    assert [" ".join(call[:2]) for call in stand.calls()] == order
    assert {tuple(call[2:]) for call in stand.calls()} == {(ident, "eth0", held)}
    asked = stand.read("ports.ADD")
    assert (asked["name"], asked["cniVersion"], asked["type"]) == ("told", "1.0.0", "ports")
    assert asked["prevResult"]["ips"] == [{"address": "10.9.0.9/24"}]
    assert [port["hostPort"] for port in asked["runtimeConfig"]["portMappings"]] == [8080, 8081]
    assert "capabilities" not in asked
    assert stand.read("first.DEL")["prevResult"] == asked["prevResult"]
    assert lies(stand) == ([], [])


def test_after_a_crash_everything_that_was_added_is_deleted_and_what_runs_stays(stand: Stand) -> None:
    net = stand.net(conflist(stand.noting()))
    known, unknown = net.join(), net.join()
    stand.afresh().restore({net.spec.id: net.spec}, [])
    assert sorted(call[1] for call in stand.calls()) == ["ADD", "ADD", "DEL", "DEL"]
    assert {call[4] for call in stand.calls()} >= {str(stand.host.exec_root / "namespaces" / known.endpoint.id)}
    assert lies(stand) == ([], [])
    assert unknown.endpoint.id != known.endpoint.id


def test_after_a_reboot_plugins_are_told_that_the_namespace_is_gone(stand: Stand) -> None:
    place = stand.net(conflist(stand.noting())).join()
    subprocess.run(["umount", stand.host.exec_root / "namespaces" / place.endpoint.id], check=True)
    stand.afresh().restore({}, [])
    assert stand.calls()[-1][1:] == ["DEL", place.endpoint.container, "eth0", "gone"]


def test_what_a_plugin_cannot_delete_is_tried_again(stand: Stand) -> None:
    noting = stand.noting()
    place = stand.net(conflist(noting)).join()
    stand.plugin("noting", "exit 1")
    with pytest.raises(Unavailable, match="'noting' failed to DEL"):
        place.leave()
    stand.noting()
    stand.afresh().restore({}, [])
    assert [call[1] for call in stand.calls()] == ["ADD", "DEL"]
    assert lies(stand) == ([], [])


# ── plugins that are wrong ───────────────────────────────────────────────────────────────────────────────────────────


def ips(*entries: Any, **more: Any) -> str:
    return "echo '" + json.dumps({"cniVersion": "1.0.0", "ips": entries, **more}) + "'"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo nonsense", "is no result"),
        ("echo '[]'", "is no result"),
        ("true", "is no result"),
        ("echo '{\"ips\": 7}'", "is no result"),
        ("head -c 100000 /dev/zero | tr '\\0' '['", "is no result"),
        ("yes", "more than 1 MiB"),
        (ips({"address": "10.0.0.1"}), "no address with a prefix"),
        (ips({"address": "../../etc/passwd"}), "no address with a prefix"),
        (ips({"address": "10.0.0.1/24", "interface": 7}), "not there"),
        (ips({"address": "10.0.0.1/24", "interface": -1}), "not there"),
        (ips({"address": "10.0.0.1/24", "gateway": "x"}), "as a gateway"),
        (ips({"address": "10.0.0.1/24"}, routes=[{"dst": "here"}]), "no network"),
        (ips(*[{"address": f"10.0.0.{one}/8"} for one in range(65)]), "more than 64"),
        ('printf %s \'{"code": 7, "msg": "no such\\nparent"}\'; exit 1', "'wrong' failed to ADD: no such parent"),
        ("exit 3", "exit code 3 and said nothing"),
        ("kill -9 $$", "signal 9"),
        ("sleep 100", "did not answer ADD within 1 s and was killed"),
        ("sleep 100 & exit 0", "did not answer ADD within 1 s and was killed"),
    ],
)
def test_a_plugin_that_is_wrong_is_a_sentence_and_is_told_to_delete(stand: Stand, answer: str, said: str) -> None:
    stand.driver = stand.afresh(patience=1.0 if "sleep" in answer else 20.0)
    net = stand.net(conflist(stand.noting("wrong", answer=answer)))
    started = time.monotonic()
    with pytest.raises(Unavailable, match=said) as caught:
        net.join()
    assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert [call[1] for call in stand.calls()] == ["ADD", "DEL"]
    assert lies(stand) == ([], [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either the option conf"),
        ({"conf": "a", "config": "{}"}, "either the option conf"),
        ({"conf": "nosuch"}, "'nosuch'"),
        ({"config": "{"}, "no JSON"),
        ({"config": "[" * 100_000}, "no JSON"),
        ({"config": "[]"}, "JSON object"),
        ({"config": '{"cniVersion": "9.0.0", "type": "ptp"}'}, "9.0.0"),
        ({"config": '{"name": "../x", "type": "ptp"}'}, "../x"),
        ({"config": '{"plugins": []}'}, "between 1 and 32"),
        ({"config": '{"plugins": [7]}'}, "without a type"),
        ({"config": '{"type": "../../bin/sh"}'}, "not a path"),
        ({"config": '{"type": "nosuch"}'}, "'nosuch'"),
        ({"config": '{"type": "ptp", "capabilities": ["x"]}'}, "capabilities"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_a_sentence(stand: Stand, options: dict[str, str], said: str) -> None:
    with pytest.raises((Invalid, NotFound)) as caught:
        stand.driver.validate(Net(stand.driver, 1, options=options).spec)
    assert said in str(caught.value)


def test_two_networks_do_not_share_a_name_that_their_plugins_see(stand: Stand) -> None:
    stand.net(conflist({"type": "ptp"}))
    with pytest.raises(Conflict, match="'kit'"):
        stand.net(conflist({"type": "ptp"}), number=2)


def test_a_network_is_not_internal_because_somebody_says_so(stand: Stand) -> None:
    with pytest.raises(Unsupported, match="internal"):
        stand.driver.validate(Net(stand.driver, 1, internal=True, options={"config": '{"type": "ptp"}'}).spec)


def test_a_port_that_a_plugin_refuses_leaves_the_others(stand: Stand) -> None:
    noting = stand.noting("first")
    ports = stand.noting("ports") | {"capabilities": {"portMappings": True}}
    place: Place = stand.net(conflist(noting, ports)).join()
    place.publish(8080)
    stand.plugin("ports", "grep -q 8081 && exit 1; echo {}")
    with pytest.raises(SampanError, match="'ports' failed to ADD"):
        place.publish(8081)
    record = json.loads(next((stand.host.data_root / "endpoints").iterdir()).read_text())
    assert [port["host_port"] for port in record["ports"]] == [8080]
    assert rules() == ""


def test_of_a_plugin_that_was_killed_nothing_runs_on(stand: Stand) -> None:
    stand.driver = stand.afresh(patience=1.0)
    with pytest.raises(Unavailable, match="was killed"):
        stand.net(conflist(stand.noting("wrong", answer="(sleep 300 & echo $! > $N/child)"))).join()
    child = Path("/proc", stand.notes.joinpath("child").read_text().strip())
    deadline = time.monotonic() + 5
    while child.exists() and "Z" not in child.joinpath("stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "a plugin's child runs on"
        time.sleep(0.05)
