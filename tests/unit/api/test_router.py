"""Which request reaches which handler, in which version, with which parameters."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from sampan.api.nouns import routes, unbuilt
from sampan.api.router import Route, Routes, UnknownVersion, split_version
from unit.api.conftest import Daemon, Wire


@pytest.mark.parametrize(
    ("path", "version", "rest"),
    [
        ("/v1.24/info", (1, 24), "/info"),
        ("/v1.50/images/a/b:c/json", (1, 50), "/images/a/b:c/json"),
        ("/info", (1, 50), "/info"),
        ("/version", (1, 50), "/version"),
        ("/v1/info", (1, 50), "/v1/info"),
    ],
)
def test_versions(path: str, version: tuple[int, int], rest: str) -> None:
    assert split_version(path) == (version, rest)


def test_a_client_that_is_too_new(wire: Wire) -> None:
    answer = wire.ask("GET", "/v1.99/info")
    assert answer.status == 400
    assert answer.message == "client version 1.99 is too new. Maximum supported API version is 1.50"


def test_a_client_that_is_too_old() -> None:
    with pytest.raises(UnknownVersion, match=r"client version 1.12 is too old. Minimum supported API version is 1.24"):
        split_version("/v1.12/info")


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("GET", "/images/docker.io/library/busybox:1/json", {"name": "docker.io/library/busybox:1"}),
        ("GET", "/images/json/json", {"name": "json"}),
        ("GET", "/images/json", {}),
        ("GET", "/images/host:5000/a@sha256:0/history", {"name": "host:5000/a@sha256:0"}),
        ("DELETE", "/images/a/b", {"name": "a/b"}),
        ("POST", "/images/a/b/tag", {"name": "a/b"}),
        ("POST", "/images/a/b/push", {"name": "a/b"}),
        ("GET", "/containers/x/json", {"id": "x"}),
        ("GET", "/networks/x", {"id": "x"}),
        ("HEAD", "/_ping", {}),
    ],
)
def test_paths(method: str, path: str, params: dict[str, str]) -> None:
    found = routes.find(method, path)
    assert found is not None
    assert found[1] == params


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "*"),
        ("GET", ""),
        ("PUT", "/_ping"),
        ("GET", "/containers"),
        ("GET", "/containers//json"),
        ("GET", "/containers/json/"),
        ("GET", "/images//json"),
        ("GET", "/networks/a/b"),
        ("OPTIONS", "*"),
        ("CONNECT", "x:1"),
    ],
)
def test_nowhere(method: str, path: str) -> None:
    assert routes.find(method, path) is None


def test_nowhere_is_told(wire: Wire) -> None:
    answer = wire.ask("GET", "/v1.50/nowhere")
    assert (answer.status, answer.message) == (404, "page not found")


def test_escaped_paths_are_unescaped_once(wire: Wire) -> None:
    assert wire.ask("GET", "/containers/no%2520such/json").message == "No such container: no%20such"


def test_what_is_not_built_says_so(wire: Wire) -> None:
    answer = wire.ask("POST", "/swarm/init")
    assert (answer.status, answer.message) == (501, "swarm mode is not supported by this engine yet (POST /swarm/init)")


def test_there_is_no_swarm_to_ask_or_to_leave(wire: Wire) -> None:
    """docker-py leaves the swarm after each of its tests, and takes 503 for "there was none"."""
    answer = wire.ask("POST", "/swarm/leave?force=1")
    assert (answer.status, answer.message) == (503, "This node is not part of a swarm")
    answer = wire.ask("GET", "/services")
    assert answer.status == 503
    assert answer.message.startswith("This node is not a swarm manager.")


def test_web_pages_are_not_served(wire: Wire) -> None:
    """A page in a browser can send POST without a body to a daemon on the loopback interface."""
    assert wire.ask("POST", "/containers/web/stop", Origin="http://somewhere").status == 403


def test_twice_declared_is_refused() -> None:
    table = Routes()
    table.get("/x")(lambda call: None)
    with pytest.raises(ValueError, match="GET /x is declared twice"):
        table.add("GET", "/x", Route(lambda call: None, inline=True, streams=False))


OPERATIONS = """
GET /containers/json POST /containers/create GET /containers/{id}/json GET /containers/{id}/top
GET /containers/{id}/logs GET /containers/{id}/changes GET /containers/{id}/export GET /containers/{id}/stats
POST /containers/{id}/resize POST /containers/{id}/start POST /containers/{id}/stop POST /containers/{id}/restart
POST /containers/{id}/kill POST /containers/{id}/update POST /containers/{id}/rename POST /containers/{id}/pause
POST /containers/{id}/unpause POST /containers/{id}/attach GET /containers/{id}/attach/ws POST /containers/{id}/wait
DELETE /containers/{id} HEAD /containers/{id}/archive GET /containers/{id}/archive PUT /containers/{id}/archive
POST /containers/prune GET /images/json POST /build POST /build/prune POST /images/create GET /images/{name}/json
GET /images/{name}/history POST /images/{name}/push POST /images/{name}/tag DELETE /images/{name} GET /images/search
POST /images/prune POST /auth GET /info GET /version GET /_ping HEAD /_ping POST /commit GET /events GET /system/df
GET /images/{name}/get GET /images/get POST /images/load POST /containers/{id}/exec POST /exec/{id}/start
POST /exec/{id}/resize GET /exec/{id}/json GET /volumes POST /volumes/create GET /volumes/{name} PUT /volumes/{name}
DELETE /volumes/{name} POST /volumes/prune GET /networks GET /networks/{id} DELETE /networks/{id} POST /networks/create
POST /networks/{id}/connect POST /networks/{id}/disconnect POST /networks/prune GET /plugins GET /plugins/privileges
POST /plugins/pull GET /plugins/{name}/json DELETE /plugins/{name} POST /plugins/{name}/enable
POST /plugins/{name}/disable POST /plugins/{name}/upgrade POST /plugins/create POST /plugins/{name}/push
POST /plugins/{name}/set GET /nodes GET /nodes/{id} DELETE /nodes/{id} POST /nodes/{id}/update GET /swarm
POST /swarm/init POST /swarm/join POST /swarm/leave POST /swarm/update GET /swarm/unlockkey POST /swarm/unlock
GET /services POST /services/create GET /services/{id} DELETE /services/{id} POST /services/{id}/update
GET /services/{id}/logs GET /tasks GET /tasks/{id} GET /tasks/{id}/logs GET /secrets POST /secrets/create
GET /secrets/{id} DELETE /secrets/{id} POST /secrets/{id}/update GET /configs POST /configs/create GET /configs/{id}
DELETE /configs/{id} POST /configs/{id}/update GET /distribution/{name}/json POST /session
"""
"""All operations of the published description, version 1.50."""


def test_every_published_operation_has_an_answer() -> None:
    words = OPERATIONS.split()
    published = set(zip(words[::2], words[1::2], strict=True))
    assert published - routes.declared == set()


NO_CONTENT = """
POST /containers/{id}/start POST /containers/{id}/stop POST /containers/{id}/restart POST /containers/{id}/kill
POST /containers/{id}/rename POST /containers/{id}/pause POST /containers/{id}/unpause DELETE /containers/{id}
DELETE /networks/{id} DELETE /volumes/{name}
"""
"""Of these, what is answered with 204 here. Some clients take any other success than the described one for failure."""


def test_nothing_but_what_is_described_so_is_answered_with_no_content() -> None:
    words = NO_CONTENT.split()
    described = set(zip(words[::2], words[1::2], strict=True))
    operations = OPERATIONS.split()
    silent = set()
    for method, path in zip(operations[::2], operations[1::2], strict=True):
        found = routes.find(method, path)
        assert found is not None
        if inspect.signature(found[0].handler).return_annotation in (None, "None"):
            silent.add((method, path))
    refused = {(line.split()[0], line.split()[1]) for line in unbuilt.OPERATIONS.strip().splitlines()}
    assert silent - refused == described


def test_the_layers_of_the_room() -> None:
    """Views know nothing of handlers and HTTP, and the wire knows nothing of the engine."""
    room = Path(__file__).parents[3] / "core/sampan/api"
    for path in (room / "views").glob("*.py"):
        assert not re.search(r"sampan\.api\.(nouns|wire|call)", path.read_text()), path
    for path in (room / "wire").glob("*.py"):
        imported = re.findall(r"^from (sampan[\w.]*)", path.read_text(), re.MULTILINE)
        assert all(name == "sampan.errors" or name.startswith("sampan.api.wire") for name in imported), path


def test_errors_become_statuses(daemon: Daemon, wire: Wire) -> None:
    assert wire.ask("POST", "/containers/nosuch/start").status == 404
    failed = wire.ask("POST", "/containers/nocommand/start")
    assert (failed.status, failed.message) == (400, 'exec: "nosuch": executable file not found in $PATH')
    assert wire.ask("POST", "/containers/create?name=taken", {}).status == 409
    bug = wire.ask("POST", "/containers/broken/start")
    assert bug.status == 500
    assert "ZeroDivisionError" in bug.message
    assert "a bug" not in bug.message
