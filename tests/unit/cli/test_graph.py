"""``sampan network graph``: the picture in all its forms."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from unit.cli.fake_daemon import Daemon, Result

Sampan = Callable[..., Result]


def network(name: str, driver: str, subnet: str = "", gateway: str = "", **more: Any) -> dict[str, Any]:
    ranges = [{"Subnet": subnet, "Gateway": gateway}] if subnet else None
    ident = name.encode().hex().ljust(64, "0")
    return {"Id": ident, "Name": name, "Driver": driver, "Internal": False, "IPAM": {"Config": ranges}, **more}


def container(name: str, networks: dict[str, str], *ports: tuple[str, int, int, str], **more: Any) -> dict[str, Any]:
    ends = {
        each: {"IPAddress": address, "IPPrefixLen": 16 if address else 0, "MacAddress": ""}
        for each, address in networks.items()
    }
    keys = ("IP", "PublicPort", "PrivatePort", "Type")
    return {
        "Id": name.encode().hex().ljust(64, "0"),
        "Names": ["/" + name],
        "Image": "shell",
        "State": "running",
        "HostConfig": {"NetworkMode": next(iter(networks), "")},
        "NetworkSettings": {"Networks": ends},
        "Ports": [dict(zip(keys, port, strict=True)) for port in ports] + [{"PrivatePort": 22, "Type": "tcp"}],
        **more,
    }


NETWORKS = [
    network("none", "null"),
    network("back", "internal", "10.5.0.0/24"),
    network("bridge", "bridge", "172.17.0.0/16", "172.17.0.1"),
    network("front", "bridge", "172.18.0.0/16", "172.18.0.1"),
    network("host", "host"),
]
WEB = container(
    "web", {"front": "172.18.0.2", "back": "10.5.0.2"}, ("0.0.0.0", 8080, 80, "tcp"), ("0.0.0.0", 8081, 81, "tcp")
)
LOG = container("log", {}, HostConfig={"NetworkMode": f"container:{WEB['Id']}"})
DB = container("db", {"back": "10.5.0.3"}, ("::1", 5432, 5432, "tcp"))
OLD = container("old", {"bridge": ""}, State="exited")


@pytest.fixture
def drawn(daemon: Daemon, sampan: Sampan) -> Callable[..., Result]:
    def draw(*words: str, containers: list[dict[str, Any]] | None = None) -> Result:
        daemon.on("GET /networks", NETWORKS)
        daemon.on("GET /containers/json", [LOG, DB, OLD, WEB] if containers is None else containers)
        return sampan("network", "graph", *words)

    return draw


def test_the_text_has_a_line_for_each_network_and_a_stop_for_each_container(drawn: Callable[..., Result]) -> None:
    out = drawn("--all").out
    rows = [line for line in out.splitlines() if "●" in line or "○" in line]
    assert rows == [
        "  ○──│──┆── old  (shell · exited)  bridge",
        "  │  ●──●── web  (shell)",
        "  │  │  ●── db  (shell)",
    ]
    assert "log  (shell)  lives in the network of web" in out
    assert "├╴front 172.18.0.2" in out
    assert "╰╴80-81/tcp ◀ 0.0.0.0:8080-8081" in out
    assert "[::1]:5432  ▶  db   5432/tcp" in out
    assert "back    internal 10.5.0.0/24 · sealed: no way out, none in" in out
    assert "none" not in re.sub("none in", "", out), "a network that is always there is shown when somebody is on it"
    assert "\x1b" not in out, "colours are for terminals"


def test_what_does_not_run_is_shown_on_request(daemon: Daemon, drawn: Callable[..., Result]) -> None:
    drawn()
    drawn("-a")
    asked = [request.query for request in daemon.asked("GET /containers/json")]
    assert asked[0].get("all", ["0"])[0] in ("0", "false")
    assert asked[1]["all"][0] in ("1", "true")


def test_an_engine_with_nothing_says_so(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /networks", [network("bridge", "bridge"), network("none", "null")])
    daemon.on("GET /containers/json", [])
    assert sampan("network", "graph").out.startswith("No networks")
    ElementTree.fromstring(sampan("network", "graph", "--format", "svg").out)  # noqa: S314 - our own


def test_json_has_everything(drawn: Callable[..., Result]) -> None:
    told = json.loads(drawn("--format", "json").out)
    networks = {one["Name"]: one for one in told["Networks"]}
    assert networks["back"]["Sealed"]
    assert networks["back"]["Containers"] == ["web", "db"]
    assert not networks["front"]["Sealed"]
    boxes = {one["Name"]: one for one in told["Containers"]}
    assert boxes["log"]["SharesNetworkOf"] == "web"
    assert boxes["web"]["Ports"] == [{"HostIp": "0.0.0.0", "HostPort": "8080-8081", "Port": "80-81", "Protocol": "tcp"}]
    assert boxes["web"]["Networks"][0] == {"Network": "back", "Addresses": ["10.5.0.2/16"], "MacAddress": ""}


def test_the_svg_is_well_formed_and_needs_nothing_from_elsewhere(drawn: Callable[..., Result]) -> None:
    hostile = container("<script>&\"'", {"front": "172.18.0.9"})
    out = drawn("--format", "svg", "--all", containers=[WEB, LOG, DB, OLD, hostile]).out
    tree = ElementTree.fromstring(out)  # noqa: S314 - our own
    texts = [each.text for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"web", "db", "log", "172.18.0.2", "0.0.0.0:8080-8081", "80-81/tcp", "internal, sealed"} <= set(texts)
    assert "<script>&\"'" in texts
    assert "prefers-color-scheme:dark" in out
    assert set(re.findall(r'(?:href|src|url)\W+([^")]+)', out)) == set()


def test_dot_quotes_whatever_comes(drawn: Callable[..., Result]) -> None:
    hostile = container('a"b\\c', {"front": "172.18.0.9"})
    out = drawn("--format", "dot", containers=[WEB, LOG, DB, hostile]).out
    assert '"container a\\"b\\\\c"' in out
    assert 'host -- "container web" [label="0.0.0.0:8080-8081 → 80-81/tcp"' in out
    assert 'host -- "network front"' in out
    assert 'host -- "network back"' not in out, "a sealed network has no way to the host"
    assert out.count("{") == out.count("}") == 1


def test_one_network_with_all_that_its_containers_are_on(drawn: Callable[..., Result]) -> None:
    out = drawn("front").out
    assert "web" in out
    assert "log" in out
    assert " db " not in out
    assert (
        drawn("nowhere").err
        == "sampan: network nowhere is not in the picture: it does not exist, or nothing is on it\n"
    )


def test_another_format_is_refused(drawn: Callable[..., Result]) -> None:
    found = drawn("--format", "png")
    assert found.code == 1
    assert found.err.startswith("sampan: invalid format 'png': text, dot, svg or json")
