"""Connecting and disconnecting where something goes wrong on the way: a driver that raises, a record not written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import Exhausted, Unavailable
from sampan.testing import wires
from sampan.testing.wires import Server, ask, links, rules
from sampan.types import Container
from sampan_network.bridge import Bridge
from unit.networks.network_house import House, address

pytestmark = pytest.mark.root

PORTS = {"80/tcp": [{"HostPort": "18080"}]}


@pytest.fixture
def world() -> Iterator[wires.Host]:
    with wires.own_network() as world:
        yield world


@pytest.fixture
def house(world: wires.Host, tmp_path: Path) -> Iterator[House]:
    """With a network that comes before ``bridge``, so that the way out and the ports move there and back."""
    house = House(tmp_path)
    house.networks.create({"Name": "alps", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}})
    yield house
    for container in list(house.running):
        house.stop(container)
    house.networks.close()
    house.state.close()
    assert set(links(world)) == {"lo"}
    assert "sampan" not in rules()


def connect(house: House, container: Container, name: str = "alps", **settings: Any) -> None:
    network = house.networks.get(name)
    house.networks.connect(container, house.networks.wish(container, network, settings))


def all_of(house: House, world: wires.Host, container: Container) -> Any:
    inside = house.inside(container)
    routes = [inside.ip(version, "route", "show") for version in ("-4", "-6")]
    kernel = (set(links(world)), set(links(inside)), routes, sorted(rules().split()))
    return (
        kernel,
        repr(container),
        {one.spec.name: house.networks._records.members(one.spec.id) for one in house.networks.list()},
    )


class Trouble:
    """The ``number``-th call of a driver's method raises, before or after it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, number: int, *, after: bool) -> None:
        self.calls, real = 0, getattr(Bridge, method)

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls != number:
                return real(*args, **options)
            if after:
                real(*args, **options)
            raise Unavailable(f"{method} is out of order")

        monkeypatch.setattr(Bridge, method, call)


CONNECTING = [("join", 1), ("route", 1), ("route", 2), ("publish", 1), ("unpublish", 1)]
DISCONNECTING = [("leave", 1), ("route", 1), ("publish", 1), ("unpublish", 1)]
ATOMIC = ("join", "publish")
"""If these fail, nothing of them is left: the contract says so."""


def each(calls: list[tuple[str, int]]) -> list[Any]:
    cases = [(method, number, after) for method, number in calls for after in (False, True)]
    return [
        pytest.param(method, number, after, id=f"{'after' if after else 'before'} {method} {number}")
        for method, number, after in cases
        if not (after and method in ATOMIC)
    ]


@pytest.mark.parametrize(("method", "number", "after"), each(CONNECTING))
def test_a_driver_that_fails_while_connecting_leaves_all_as_it_was(
    house: House, world: wires.Host, monkeypatch: pytest.MonkeyPatch, method: str, number: int, after: bool
) -> None:
    container = house.start(ports=PORTS)
    before = all_of(house, world, container)
    with monkeypatch.context() as patch:
        Trouble(patch, method, number, after=after)
        with pytest.raises(Unavailable, match=f"^{method} is out of order$"):
            connect(house, container)
    assert all_of(house, world, container) == before
    connect(house, container)
    assert address(container, "alps") == "10.77.0.3"  # the first was given back, and is not the next


@pytest.mark.parametrize(("method", "number", "after"), each(DISCONNECTING))
def test_a_driver_that_fails_while_disconnecting_leaves_all_as_it_was(
    house: House, world: wires.Host, monkeypatch: pytest.MonkeyPatch, method: str, number: int, after: bool
) -> None:
    container = house.start(ports=PORTS)
    connect(house, container)
    before = all_of(house, world, container)
    with monkeypatch.context() as patch:
        Trouble(patch, method, number, after=after)
        with pytest.raises(Unavailable, match=f"^{method} is out of order$"):
            house.networks.disconnect(container, "alps")
    assert all_of(house, world, container) == before
    with Server(house.inside(container), 80):
        assert ask(world, "127.0.0.1", 18080)


def test_by_force_a_container_leaves_all_the_same_and_the_driver_is_asked_again(
    house: House, world: wires.Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, other = house.start(ports=PORTS), house.start()
    connect(house, container, IPAMConfig={"IPv4Address": "10.77.0.9"})
    with monkeypatch.context() as patch:
        Trouble(patch, "leave", 1, after=False)
        house.networks.disconnect(container, "alps", force=True)
    assert set(container.endpoints) == {"bridge"}
    connect(house, other, IPAMConfig={"IPv4Address": "10.77.0.9"})  # waits for that
    with Server(house.inside(container), 80):
        assert ask(world, "127.0.0.1", 18080)


@pytest.mark.parametrize("number", [1, 2])
def test_a_record_that_cannot_be_written_leaves_all_as_it_was(house: House, world: wires.Host, number: int) -> None:
    container = house.start(ports=PORTS)
    saved: list[str] = []

    def save(one: Container) -> None:
        saved.append(one.id)
        if len(saved) == number:
            raise Exhausted("no space is left")

    house.networks.save = save
    before = all_of(house, world, container)
    with pytest.raises(Exhausted, match="no space is left"):
        connect(house, container)
    assert all_of(house, world, container) == before


def test_of_two_networks_the_one_with_the_higher_priority_is_the_way_out(house: House, world: wires.Host) -> None:
    house.networks.create({"Name": "zoo", "IPAM": {"Config": [{"Subnet": "10.78.0.0/24"}]}})
    container = house.start()

    def way() -> Any:
        return [one["gateway"] for one in house.inside(container).ip("-4", "route", "show", "default")]

    connect(house, container, "zoo", GwPriority=-1)
    assert way() == ["172.17.0.1"]
    house.networks.disconnect(container, "zoo")
    connect(house, container, "zoo", GwPriority=1)
    assert way() == ["10.78.0.1"]
    connect(house, container, "alps")  # it reaches the world by IPv6, too
    assert way() == ["10.77.0.1"]
