"""Port maps with some ports more and some less."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.drivers.types import PortBinding
from sampan.errors import Invalid, NotFound
from sampan.networks import ports
from sampan.networks.portmaps import divided, edited


def bound(host: int, port: int = 80, address: str = "0.0.0.0", protocol: Any = "tcp") -> PortBinding:
    return PortBinding(protocol=protocol, container_port=port, host_ip=address, host_port=host)


def entry(port: str = "", address: str = "") -> dict[str, str]:
    return {"HostIp": address, "HostPort": port}


OLD = {"80/tcp": [entry("8080"), entry("8081", "127.0.0.1")], "53/udp": [entry("53")]}


@pytest.mark.parametrize(
    ("remove", "left"),
    [
        ({"80/tcp": [entry("8080")]}, {"80/tcp": [entry("8081", "127.0.0.1")], "53/udp": [entry("53")]}),
        ({"80/tcp": None}, {"53/udp": [entry("53")]}),
        ({"80": [entry("8081")]}, {"80/tcp": [entry("8080")], "53/udp": [entry("53")]}),
        ({"80/tcp": [entry("8080", "0.0.0.0")]}, {"80/tcp": [entry("8081", "127.0.0.1")], "53/udp": [entry("53")]}),
        ({"80/tcp": [entry("8000-8099")], "53/udp": []}, {}),
    ],
)
def test_what_is_named_goes_and_the_rest_stays(remove: dict[str, Any], left: dict[str, Any]) -> None:
    assert edited(OLD, {}, remove, [], "web") == left


@pytest.mark.parametrize(
    "remove",
    [{"80/udp": None}, {"80/tcp": [entry("9")]}, {"80/tcp": [entry("8081", "127.0.0.2")]}, {"81/tcp": [entry()]}],
)
def test_what_is_not_there_cannot_go(remove: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match=r"No public port '.*' published for web"):
        edited(OLD, {}, remove, [bound(8080)], "web")


def test_what_is_added_comes_behind_and_ranges_are_written_one_by_one() -> None:
    made = edited({"80-81/tcp": [entry("8080-8081")]}, {"90/tcp": [entry("9000-9009")], "91/tcp": None}, {}, [], "web")
    assert made == {
        "80/tcp": [entry("8080")],
        "81/tcp": [entry("8081")],
        "90/tcp": [entry("9000-9009")],
        "91/tcp": [entry()],
    }
    with pytest.raises(Invalid):
        edited({}, {"0/tcp": None}, {}, [], "web")


def test_one_that_was_picked_is_named_by_what_was_picked() -> None:
    old = {"80/tcp": [entry(), entry(), entry("9000-9009")]}
    given = [bound(40000), bound(40001), bound(9003)]
    assert edited(old, {}, {"80/tcp": [entry("40001")]}, given, "web") == {"80/tcp": [entry(), entry("9000-9009")]}
    assert edited(old, {}, {"80/tcp": [entry("9003")]}, given, "web") == {"80/tcp": [entry(), entry()]}


def split(given: list[PortBinding], remove: dict[str, Any], wanted: dict[str, Any]) -> Any:
    kept, gone, fresh = divided(given, remove, ports.read({}, wanted, False))
    return [one.host_port for one in kept], [one.host_port for one in gone], [(one.port, one.first) for one in fresh]


def test_a_running_container_keeps_what_it_has() -> None:
    given = [bound(40000), bound(40001), bound(9003, 81)]
    wanted = {"80/tcp": [entry()], "81/tcp": [entry("9000-9009")], "82/tcp": [entry("82")]}
    assert split(given, {"80/tcp": [entry("40000")]}, wanted) == ([9003, 40001], [40000], [(82, 82)])
    assert split(given, {}, {}) == ([], [40000, 40001, 9003], [])


def test_both_versions_of_ip_belong_to_one_wish() -> None:
    given = [bound(8080), bound(8080, address="::"), bound(8081), bound(8081, address="::")]
    wanted = {"80/tcp": [entry("8080"), entry("8082")]}
    assert split(given, {"80/tcp": [entry("8081")]}, wanted) == ([8080, 8080], [8081, 8081], [(80, 8082)])
