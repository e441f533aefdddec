"""Where ports are published that name no address: on all of them, or where the configuration says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness import Engine
from harness.net import INSIDE

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(network={"publish_address": "127.0.0.1"}) as running:
        yield running


def get(address: str) -> list[str]:
    return ["busybox", "timeout", "1", "busybox", "wget", "-q", "-O", "-", f"http://{address}/"]


def test_the_default_is_configurable_and_told_as_docker_does(engine: Engine) -> None:
    serve = "echo aboard >/tmp/index.html; exec busybox httpd -f -p 80 -h /tmp"
    ports = ["-p", "8080:80", "-p", "0.0.0.0:8081:80"]
    engine.docker("run", "-d", "--init", "--name", "web", *ports, engine.image(), "sh", "-c", serve).ok()
    engine.wait_until(lambda: engine.run(*get("127.0.0.1:8080")).stdout == "aboard\n", "it answers on 127.0.0.1")
    assert engine.outside(*get(f"{INSIDE}:8080")).code != 0
    assert engine.outside(*get(f"{INSIDE}:8081")).out == "aboard", "who says so is heard by the world"
    assert sorted(engine.docker("ps", "--format", "{{.Ports}}").out.split(", ")) == [
        "0.0.0.0:8081->80/tcp",
        "127.0.0.1:8080->80/tcp",
    ]
    told = json.loads(engine.docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", "web").out)
    addresses = sorted(one["HostIp"] for one in told["80/tcp"])
    assert addresses == ["0.0.0.0", "127.0.0.1"]
    engine.sampan("update", "--publish-add", "8082:80", "web").ok()
    assert "127.0.0.1:8082->80/tcp" in engine.docker("ps", "--format", "{{.Ports}}").out
    found = engine.sampan("doctor", "port", "web:80")
    assert found.code == 0
    assert "port 8081 of every IPv4 address" in found.stdout
