"""``login``, ``logout`` and who we are to registries."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.cli import credentials
from sampan.cli.failures import Failure
from unit.cli.fake_daemon import Answer, Daemon, Result

Sampan = Callable[..., Result]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def write(file: Path, settings: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(settings if isinstance(settings, str) else json.dumps(settings))


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_the_registry_of_a_name() -> None:
    assert credentials.registry_of("debian:12") == credentials.HUB
    assert credentials.registry_of("me/tool") == credentials.HUB
    assert credentials.registry_of("docker.io/me/tool") == credentials.HUB
    assert credentials.registry_of("host.example:5000/tool@sha256:1") == "host.example:5000"
    assert credentials.registry_of("localhost/tool") == "localhost"
    assert credentials.called("https://host.example/v2/") == "host.example"


def test_what_docker_knows_is_known(file: Path) -> None:
    assert credentials.find("host.example") == {}
    write(file, {"auths": {"https://host.example/v1/": auth("me:a:b"), credentials.HUB: auth("hub:c")}})
    found = credentials.find("host.example")
    assert found == {"username": "me", "password": "a:b", "serveraddress": "host.example"}
    assert credentials.find(credentials.HUB)["username"] == "hub"
    [text] = credentials.header("host.example").values()
    assert json.loads(base64.urlsafe_b64decode(text)) == found
    write(file, {"auths": {"host.example": {**auth("me:"), "identitytoken": "t"}}})
    assert credentials.find("host.example")["identitytoken"] == "t"


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"host.example": {"auth": "!"}}}'])
def test_a_file_that_is_damaged(file: Path, text: str) -> None:
    write(file, text)
    with pytest.raises(Failure, match=r"config\.json"):
        credentials.find("host.example")


def test_login_keeps_what_was_right_and_all_else(daemon: Daemon, sampan: Sampan, file: Path) -> None:
    write(file, {"psFormat": "x", "auths": {"other": auth("a:b")}})
    daemon.on("POST /auth", Answer(body={"Status": "Login Succeeded", "IdentityToken": ""}))
    result = sampan("login", "-u", "me", "-p", "secret", "https://host.example/")
    assert (result.code, result.out) == (0, "Login Succeeded\n")
    sent = daemon.asked("POST /auth")[0].json
    assert sent == {"username": "me", "password": "secret", "serveraddress": "host.example"}
    kept = json.loads(file.read_text())
    assert kept == {"psFormat": "x", "auths": {"other": auth("a:b"), "host.example": auth("me:secret")}}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sampan("logout", "host.example").out == "Removing login credentials for host.example\n"
    assert json.loads(file.read_text())["auths"] == {"other": auth("a:b")}
    assert sampan("logout", "host.example").out == "Not logged in to host.example\n"


def test_login_that_is_wrong_keeps_nothing(daemon: Daemon, sampan: Sampan, file: Path) -> None:
    daemon.on("POST /auth", Answer(401, {"message": "unauthorized: no"}))
    result = sampan("login", "-u", "me", "-p", "wrong", "host.example")
    assert (result.code, result.err) == (1, "sampan: unauthorized: no\n")
    assert not file.exists()
    assert "--password-stdin" in sampan("login", "host.example").err


def test_push_and_pull_show_who_asks(daemon: Daemon, sampan: Sampan, file: Path) -> None:
    write(file, {"auths": {"host.example": auth("me:secret")}})
    daemon.on("POST /images/create", Answer(body=[b'{"status":"done"}\n']))
    daemon.on("POST /images/host.example/a/push", Answer(body=[b'{"status":"done"}\n']))
    assert sampan("pull", "--platform", "linux/arm64", "host.example/a:2").out == "done\nhost.example/a:2\n"
    assert sampan("pull", "-q", "-a", "host.example/a").out == "host.example/a\n"
    assert sampan("pull", "-q", "debian").out == "docker.io/library/debian:latest\n"
    assert sampan("pull", "-q", "docker.io/me/tool:1").out == "docker.io/me/tool:1\n"
    assert sampan("push", "host.example/a").out == "Using default tag: latest\ndone\n"
    pull, every, *_ = daemon.asked("POST /images/create")
    assert pull.query == {"fromImage": ["host.example/a"], "tag": ["2"], "platform": ["linux/arm64"]}
    assert every.query == {"fromImage": ["host.example/a"]}
    [push] = daemon.asked("POST /images/host.example/a/push")
    assert push.query == {"tag": ["latest"]}
    headers = {name.lower(): value for name, value in push.headers.items()}
    assert json.loads(base64.urlsafe_b64decode(headers["x-registry-auth"]))["username"] == "me"
    assert "tag can't be used with --all-tags" in sampan("pull", "-a", "host.example/a:1").err
    assert "cannot push a digest reference" in sampan("push", "a@sha256:" + "0" * 64).err


def test_search(daemon: Daemon, sampan: Sampan) -> None:
    found = {"name": "debian", "description": "a system\nfor all", "star_count": 3, "is_official": True}
    daemon.on("GET /images/search", Answer(body=[json.dumps([found]).encode()]))
    assert sampan("search", "--limit", "5", "-f", "stars=2", "deb").out.splitlines()[1].split() == [
        *("debian", "a", "system", "for", "all", "3", "[OK]")
    ]
    assert daemon.asked("GET /images/search")[0].query["limit"] == ["5"]
