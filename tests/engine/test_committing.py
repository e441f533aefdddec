"""``commit``: images of containers, through both command lines, against a real engine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]


@pytest.fixture
def tag(engine: Engine) -> str:
    return f"kept-{uuid.uuid4().hex[:6]}:1"


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_what_changed_becomes_a_layer(engine: Engine, cli: Cli, shell: str, tag: str, state: str) -> None:
    name = f"boat-{uuid.uuid4().hex[:8]}"
    script = "echo made > /made; rm /etc/passwd; touch /ready; exec sleep 1000"
    engine.sampan("run", "-d", "--name", name, "-e", "A=b", shell, "sh", "-c", script).ok()
    engine.wait_until(lambda: "A /ready" in engine.sampan("diff", name).out, "the changes are made")
    if state == "stopped":
        engine.sampan("kill", name).ok()
    ident = cli("commit", "-a", "me", "-m", "why", "-c", 'CMD ["cat", "/made"]', "-c", "ENV X=y", name, tag).out
    assert cli("run", "--rm", tag).out == "made"
    assert cli("run", "--rm", tag, "sh", "-c", "echo $A$X; test -e /etc/passwd || echo gone").out == "by\ngone"
    [image], [base] = json.loads(cli("image", "inspect", tag).out), json.loads(cli("image", "inspect", shell).out)
    assert (image["Id"], image["Author"], image["Comment"], image["Parent"]) == (ident, "me", "why", base["Id"])
    assert image["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert json.loads(cli("inspect", name).out)[0]["State"]["Status"] == {"stopped": "exited"}.get(state, state)
    cli("rm", "-f", name).ok()
    cli("rmi", tag).ok()


def test_a_container_may_end_while_it_is_committed_or_paused(engine: Engine, shell: str) -> None:
    for milliseconds in range(0, 60, 3):
        command = ["sleep", f"{milliseconds / 1000}"]
        container = engine.api("POST", "/containers/create", {"Image": shell, "Cmd": command})[1]["Id"]
        assert engine.api("POST", f"/containers/{container}/start")[0] == 204
        status, told = engine.api("POST", f"/commit?container={container}")
        assert status == 201, told
        status, told = engine.api("POST", f"/containers/{container}/pause")
        assert status in (204, 409), told
        engine.api("DELETE", f"/containers/{container}?force=1")
    engine.docker("image", "prune", "-f").ok()


def test_what_is_wrong_leaves_nothing(engine: Engine, cli: Cli, shell: str, nothing_left: None) -> None:
    name = f"boat-{uuid.uuid4().hex[:8]}"
    cli("create", "--name", name, shell, "true").ok()
    for words, told in [
        (["-c", "FROM x", name], "from is not a valid change command"),
        ([name, "UPPER"], "must be lowercase"),
        (["nobody"], "No such container: nobody"),
    ]:
        done = cli("commit", *words)
        assert done.code == 1
        assert told in done.stderr
    cli("rm", name).ok()


def test_what_a_request_says_of_the_configuration_is_completed_by_the_containers(engine: Engine, shell: str) -> None:
    asked = {"Cmd": ["echo", "own"], "Env": ["A=1", "B=2"], "Labels": {"a": "own"}, "WorkingDir": "/tmp"}
    status, boat = engine.api("POST", "/containers/create", {"Image": shell, **asked})
    assert status == 201, boat
    for body, command, labels in (
        ({"Labels": {"b": "more"}, "Cmd": None, "Env": ["A=3"], "WorkingDir": ""}, ["echo", "own"], {"a", "b"}),
        ({"Entrypoint": ["cat"]}, None, {"a"}),
        ({"Cmd": ["true"]}, ["true"], {"a"}),
    ):
        status, made = engine.api("POST", f"/commit?container={boat['Id']}", body)
        assert status == 201, made
        config = engine.api("GET", f"/images/{made['Id']}/json")[1]["Config"]
        assert (config.get("Cmd"), set(config["Labels"]), config["WorkingDir"]) == (command, labels, "/tmp")
        assert ("A=3" in config["Env"], "A=1" in config["Env"], "B=2" in config["Env"]) == (
            "Env" in body,
            "Env" not in body,
            True,
        )
        engine.docker("rmi", made["Id"]).ok()
    status, told = engine.api("POST", f"/commit?container={boat['Id']}", {"Labels": [1]})
    assert (status, "Labels" in told["message"]) == (400, True)
    engine.docker("rm", boat["Id"]).ok()


def test_device_nodes_are_kept_and_still_work_in_the_container(engine: Engine, cli: Cli, shell: str, tag: str) -> None:
    """While its files are read, no device in it can be opened: that ends with the reading."""
    name = f"boat-{uuid.uuid4().hex[:8]}"
    script = "test -e /zero2 || mknod /zero2 c 1 5; head -c 3 /zero2 | wc -c"
    assert cli("run", "--name", name, shell, "sh", "-c", script).out == "3"
    cli("commit", name, tag).ok()
    assert cli("start", "-a", name).out == "3"
    assert cli("run", "--rm", tag, "sh", "-c", script).out == "3"
    cli("rm", name).ok()
    cli("rmi", tag).ok()
