"""The service with the real drivers, in a network namespace of the test's own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import Conflict, Exhausted, Forbidden, NotFound, SampanError
from sampan.testing import wires
from sampan.testing.wires import Server, ask, links, rules
from sampan.types import Container
from unit.networks.network_house import House, address

pytestmark = pytest.mark.root


@pytest.fixture
def world() -> Iterator[wires.Host]:
    with wires.own_network() as world:
        yield world


@pytest.fixture
def house(world: wires.Host, tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    for container in list(house.running):
        house.stop(container)
    house.networks.close()
    house.state.close()
    assert set(links(world)) == {"lo"}
    assert "sampan" not in rules()
    assert house.files() == []


def test_the_default_networks_are_there_and_stay_the_same(house: House) -> None:
    before = {one.spec.name: one.spec.id for one in house.networks.list()}
    assert set(before) == {"bridge", "host", "none"}
    house.crash()
    assert {one.spec.name: one.spec.id for one in house.networks.list()} == before


def test_a_container_gets_a_sandbox_an_address_and_its_ports(house: House, world: wires.Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    container = house.start(ports={"80/tcp": [{"HostPort": str(port)}]})
    assert address(container) == "172.17.0.2"
    with Server(house.inside(container), 80):
        assert ask(world, "127.0.0.1", port)
    house.stop(container)
    house.networks.detach(container)
    assert container.endpoints["bridge"].spec is None
    assert container.endpoints["bridge"].ports == []


def test_an_address_and_a_port_are_free_again_but_the_address_not_at_once(house: House) -> None:
    ports = {"80/tcp": [{"HostPort": "18080"}]}
    first = house.start(ports=ports)
    was = address(first)
    with pytest.raises(Conflict, match="port is already allocated"):
        house.start(ports=ports)
    house.stop(first)
    assert address(house.start(ports=ports)) != was


def test_an_address_that_is_not_used_is_given_back_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be another's when the start fails that could not use it."""
    pools = [{"Subnet": "10.9.0.0/24"}, {"Subnet": "fd09::/126"}]  # the gateway, two containers, and no more
    network = house.networks.create({"Name": "mine", "EnableIPv6": True, "IPAM": {"Config": pools}})
    house.start("mine")
    container = house.container("mine")
    container.host_config["Sysctls"] = {"net/ipv6/conf/all/disable_ipv6": "1"}
    driver = house.networks._driver(network)

    def fails(*_: object) -> None:
        monkeypatch.undo()
        house.start("mine")
        raise Conflict("it cannot join")

    monkeypatch.setattr(driver, "join", fails)
    with pytest.raises(Conflict, match="it cannot join"):
        house.networks.attach(container)
    with pytest.raises(Exhausted, match="IPv6"):
        house.start("mine")


def test_a_start_that_fails_leaves_nothing(house: House, world: wires.Host) -> None:
    house.start(ports={"80/tcp": [{"HostPort": "18080"}]})
    before = (set(links(world)), rules(), house.files())
    container = house.container(ports={"81/tcp": [{"HostPort": "18081"}], "80/tcp": [{"HostPort": "18080"}]})
    with pytest.raises(Conflict):
        house.networks.attach(container)
    assert (set(links(world)), rules(), house.files()) == before
    assert container.endpoints["bridge"].spec is None


def test_host_and_none(house: House) -> None:
    host = house.container("host")
    assert house.networks.attach(host) is None
    house.networks.detach(host)
    alone = house.start("none")
    assert set(links(house.inside(alone))) == {"lo"}


def test_two_networks_of_which_one_leads_out(house: House) -> None:
    house.networks.create({"Name": "inner", "Driver": "internal"})
    house.networks.create({"Name": "closed", "Internal": True})
    wanted = {"EndpointsConfig": {"inner": {}, "closed": {}}}
    container = house.start("inner", networking=wanted)
    assert not house.inside(container).ip("route", "show", "default")
    wanted = {"EndpointsConfig": {"inner": {}, "bridge": {}}}
    both = house.start("inner", networking=wanted)
    assert house.inside(both).ip("route", "show", "default")[0]["gateway"] == "172.17.0.1"
    assert set(links(house.inside(both))) == {"lo", "eth0", "eth1"}
    assert house.networks.gateway(both) == "172.17.0.1"


def test_the_life_of_a_network(house: House) -> None:
    network = house.networks.create({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}})
    assert house.networks.get("mine") is house.networks.get(network.spec.id[:6])
    with pytest.raises(Conflict, match="network with name mine already exists"):
        house.networks.create({"Name": "mine"})
    wanted = {"EndpointsConfig": {"mine": {"IPAMConfig": {"IPv4Address": "10.9.0.77"}}}}
    container = house.start("mine", networking=wanted)
    assert address(container, "mine") == "10.9.0.77"
    with pytest.raises(Forbidden, match=f'network mine id {network.spec.id} has active endpoints .*"{container.name}"'):
        house.networks.remove("mine")
    assert house.networks.prune() == []
    house.stop(container)
    assert house.networks.prune() == ["mine"]
    with pytest.raises(NotFound, match="network mine not found"):
        house.networks.remove("mine")
    with pytest.raises(Forbidden, match="pre-defined"):
        house.networks.remove("bridge")
    actions = [event["Action"] for event in house.events.subscribe(lambda _: None, since=0)]
    assert actions[-4:] == ["create", "connect", "disconnect", "destroy"]


def test_subnets_keep_clear_of_the_hosts_routes_and_of_one_another(house: House, world: wires.Host) -> None:
    world.ip("route", "add", "172.18.0.0/16", "dev", "lo")
    picked = [house.networks.create({"Name": name}).spec.subnets[0].subnet for name in ("a", "b")]
    assert picked == ["172.19.0.0/16", "172.20.0.0/16"]


@pytest.mark.parametrize(
    "body",
    [
        {"Name": "x", "Options": {"com.docker.network.driver.mtu": "big"}},
        {"Name": "x", "Options": {"com.docker.network.bridge.name": "lo"}},
        {"Name": "x", "Options": {"com.docker.network.bridge.name": "sampan0"}},
        {"Name": "x", "IPAM": {"Config": [{"Subnet": "172.17.9.0/24"}]}},
        {"Name": "x", "Driver": "nonesuch"},
        {"Name": "x", "Driver": "host"},
    ],
)
def test_a_network_that_cannot_be_leaves_nothing(house: House, world: wires.Host, body: dict[str, Any]) -> None:
    before = (set(links(world)), rules(), len(house.networks.list()))
    with pytest.raises(SampanError):
        house.networks.create(body)
    assert (set(links(world)), rules(), len(house.networks.list())) == before


def test_a_full_network_says_so(house: House) -> None:
    house.networks.create({"Name": "tiny", "IPAM": {"Config": [{"Subnet": "10.9.0.0/30"}]}})
    house.start("tiny")
    with pytest.raises(Exhausted, match="tiny"):
        house.start("tiny")


def test_what_runs_survives_the_daemon(house: House, world: wires.Host) -> None:
    container = house.start(ports={"80/tcp": [{"HostPort": "18080"}]})
    gone = house.start()
    house.running.remove(gone)  # it ended while no daemon was looking
    before = address(container)
    with Server(house.inside(container), 80):
        house.crash()
        assert ask(world, "127.0.0.1", 18080)
        assert house.files() == [container.id]
        with pytest.raises(Conflict):
            house.start(ports={"80/tcp": [{"HostPort": "18080"}]})
        assert address(house.start()) not in (before, "172.17.0.1")


def test_a_flushed_rule_set_and_a_lost_bridge_are_put_back(house: House, world: wires.Host) -> None:
    container = house.start(ports={"80/tcp": [{"HostPort": "18080"}]})
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    world.ip("link", "delete", "sampan0")
    with Server(house.inside(container), 80):
        house.crash()
        assert ask(world, "127.0.0.1", 18080)


def test_a_restart_takes_a_new_subnet_from_the_configuration(house: House) -> None:
    house.config = type(house.config)(
        data_root=house.config.data_root,
        exec_root=house.config.exec_root,
        network=type(house.config.network)(bridge_subnet="10.77.0.0/16"),
    )
    house.crash()
    assert house.networks.get("bridge").spec.subnets[0].subnet == "10.77.0.0/16"


def test_many_come_and_go_at_once(house: House) -> None:
    containers = [house.container() for _ in range(16)]
    attach: Callable[[Container], Path | None] = house.networks.attach
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(attach, containers))
        assert len({address(container) for container in containers}) == 16
        list(threads.map(house.networks.detach, containers))
