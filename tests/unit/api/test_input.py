"""What clients send: query parameters, filters, JSON in any letter case."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from sampan.api import letters
from sampan.api.query import Filters, Query
from sampan.errors import Invalid
from unit.api.conftest import Daemon, Wire
from unit.api.fake_engine import container, running


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("true", True), ("True", True), ("0", False), ("false", False), ("", False)]
)
def test_flags(text: str, expected: bool) -> None:
    assert Query(f"all={text}").flag("all") is expected


def test_numbers() -> None:
    assert Query("t=-1").number("t") == -1
    assert Query("").number("t") is None
    with pytest.raises(Invalid, match="'t' must be a whole number, not 'x'"):
        Query("t=x").number("t")


def test_moments() -> None:
    assert Query("since=12.5").moment("since") == 12_500_000_000
    assert Query("since=1970-01-01T01:00:00.000000001%2B01:00").moment("since") == 1
    assert Query("since=0").moment("since") is None
    with pytest.raises(Invalid, match="'since' must be"):
        Query("since=yesterday").moment("since")


@pytest.mark.parametrize("text", ['{"name":{"x":true,"y":false}}', '{"name":["x"]}'])
def test_both_styles_of_filters(text: str) -> None:
    assert Filters(text, ("name",)).get("name") == ["x"]


@pytest.mark.parametrize("text", ["x", "[]", '{"name":1}', '{"name":[1]}', '{"name":"x"}', "{"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(Invalid, match='"filters" must be'):
        Filters(text, ("name",))


def test_unknown_filters_are_named() -> None:
    with pytest.raises(Invalid, match="invalid filter 'nam'"):
        Filters('{"nam":["x"]}', ("name",))


def test_labels() -> None:
    filters = Filters('{"label":["a","b=1"],"label!":["c"]}', ("label", "label!"))
    assert filters.labels({"a": "", "b": "1"})
    assert not filters.labels({"a": "", "b": "2"})
    assert not filters.labels({"a": "", "b": "1", "c": ""})
    assert not filters.labels(None)


def test_letter_case() -> None:
    sent = {
        "image": "x",
        "CMD": ["a"],
        "labels": {"image": "mine"},
        "hostconfig": {
            "portbindings": {"80/TCP": [{"hostip": "", "HOSTPORT": "1"}]},
            "networkmode": "n",
            "mounts": [{"type": "bind", "bindoptions": {"propagation": "shared"}}],
        },
        "networkingConfig": {"endpointsconfig": {"Net": {"ipamconfig": {"ipv4address": "1.2.3.4"}}}},
        "somethingNew": 1,
    }
    assert letters.canonical(sent, letters.CONTAINER_CREATE) == {
        "Image": "x",
        "Cmd": ["a"],
        "Labels": {"image": "mine"},
        "HostConfig": {
            "PortBindings": {"80/TCP": [{"HostIp": "", "HostPort": "1"}]},
            "NetworkMode": "n",
            "Mounts": [{"Type": "bind", "BindOptions": {"Propagation": "shared"}}],
        },
        "NetworkingConfig": {"EndpointsConfig": {"Net": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}},
        "somethingNew": 1,
    }


def test_create_gets_the_canonical_body(daemon: Daemon, wire: Wire) -> None:
    answer = wire.ask("POST", "/v1.41/containers/create?name=n", {"iMaGe": "x"})
    assert (answer.status, answer.json["Warnings"]) == (201, ["be careful"])
    assert daemon.engine.containers.calls[0][:2] == ("create", "n")
    assert daemon.engine.containers.calls[0][2]["Image"] == "x"


@pytest.mark.parametrize(
    ("body", "kind", "what"),
    [
        (b"{", "application/json", "invalid JSON: "),
        (
            b"{oops",
            "application/json",
            "invalid JSON: invalid character 'o' looking for beginning of object key string",
        ),
        (b"{} more", "application/json", "unexpected content after JSON"),
        (b"[]", "application/json", "must be a JSON object"),
        (b"null", "application/json", "must be a JSON object"),
        (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (b"", "application/json", "invalid JSON: got EOF while reading request body"),
        (b"[" * 100_000, "application/json", "invalid JSON: "),
        (b'{"a":"\xff"}', "application/json", "invalid JSON: "),
    ],
)
def test_bodies_that_are_wrong(wire: Wire, body: bytes, kind: str, what: str) -> None:
    wire.send(f"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n".encode())
    wire.send(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = wire.answer()
    assert answer.status == 400
    assert what in answer.message


def test_wrong_types_name_their_key(wire: Wire) -> None:
    answer = wire.ask("POST", "/sampan/images/from-host", {"programs": ["sh", 1]})
    assert (answer.status, answer.message) == (400, "programs[1]: must be str, not int")


def names(wire: Wire, query: str) -> list[str]:
    answer = wire.ask("GET", f"/containers/json?{query}")
    assert answer.status == 200, answer.message
    return [entry["Names"][0] for entry in answer.json]


@pytest.fixture
def three(daemon: Daemon, wire: Wire) -> Wire:
    exited = container("b", "old")
    exited.state.status = type(exited.state.status)("exited")
    exited.state.exit_code = 3
    exited.config["Labels"] = {"a": "c"}
    daemon.engine.containers.add(running("a", "web"), exited, container("c", "new"))
    return wire


@pytest.mark.parametrize(
    ("query", "filters", "expected"),
    [
        ("", "", ["/web"]),
        ("all=1&", "", ["/new", "/old", "/web"]),
        ("limit=2&", "", ["/new", "/old"]),
        ("", '{"status":["exited"]}', ["/old"]),
        ("", '{"exited":["3"]}', ["/old"]),
        ("all=1&", '{"name":["e"]}', ["/new", "/web"]),
        ("all=1&", '{"name":["^/web$"]}', ["/web"]),
        ("all=1&", '{"id":["ccc"]}', ["/new"]),
        ("all=1&", '{"label":["a=c"]}', ["/old"]),
        ("all=1&", '{"ancestor":["busybox"]}', ["/new", "/old", "/web"]),
        ("all=1&", '{"ancestor":["nosuch"]}', []),
        ("all=1&", '{"network":["bridge"]}', ["/web"]),
        ("all=1&", '{"network":["no"]}', []),
        ("all=1&", '{"publish":["8080/tcp"]}', ["/web"]),
        ("all=1&", '{"publish":["8000-8100"]}', ["/web"]),
        ("all=1&", '{"publish":["8000-8100/udp","1-100"]}', []),
        ("all=1&", '{"expose":["81"]}', ["/web"]),
        ("all=1&", '{"since":["web"]}', ["/new", "/old"]),
        ("all=1&", '{"before":["new"],"since":["web"]}', ["/old"]),
    ],
)
def test_filters_of_containers(three: Wire, query: str, filters: str, expected: list[str]) -> None:
    assert names(three, f"{query}filters={quote(filters)}") == expected


@pytest.mark.parametrize(
    "filters",
    [
        *('{"status":["up"]}', '{"exited":["x"]}', '{"nosuch":["1"]}', '{"is-task":["maybe"]}', "{"),
        *('{"publish":["80-x"]}', '{"until":["now"]}', '{"until":["1h","2h"]}'),
    ],
)
def test_filters_that_make_no_sense(three: Wire, filters: str) -> None:
    answer = three.ask("GET", f"/containers/json?all=1&filters={quote(filters)}")
    assert answer.status == 400
    assert answer.message


def test_what_makes_no_sense_is_told_though_there_is_nothing_to_choose_from() -> None:
    for text in ('{"dangling":["maybe"]}', '{"until":["now"]}'):
        with pytest.raises(Invalid, match=r"is expected|is neither"):
            Filters(text, ("dangling", "until"))


def test_the_earliest_of_several_times() -> None:
    filters = Filters('{"until":["2030-01-31T12:00:00Z","2020-01-31T12:00:00Z"]}', ("until",))
    assert filters.first_until() == 1580472000 * 10**9
    assert Filters("", ("until",)).first_until() is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("h=40&w=40", 200),
        ("w=40", 'invalid resize height "": invalid syntax'),
        ("h=40", 'invalid resize width "": invalid syntax'),
        ("h=x&w=40", 'invalid resize height "x": invalid syntax'),
        ("h=40&w=-100", 'invalid resize width "-100": value out of range'),
        ("h=4294967296&w=40", 'invalid resize height "4294967296": value out of range'),
        ("h=4294967295&w=40", 200),
    ],
)
@pytest.mark.parametrize("what", ["containers/web", "exec/e1"])
def test_sizes_of_terminals(three: Wire, what: str, given: str, expected: int | str) -> None:
    answer = three.ask("POST", f"/{what}/resize?{given}")
    assert (answer.status if isinstance(expected, int) else answer.message) == expected
