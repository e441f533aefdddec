"""Published ports of containers that exist: added and removed while they run, and while they do not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Engine
from harness.net import INSIDE

pytestmark = pytest.mark.root

SERVE = "echo aboard >/tmp/index.html; busybox httpd -p 81 -h /tmp; exec busybox httpd -f -p 80 -h /tmp"


@pytest.fixture
def web(engine: Engine) -> Iterator[str]:
    """A web server on 80 and 81, published on 8080."""
    engine.docker("run", "-d", "--init", "--name", "web", "-p", "8080:80", engine.image(), "sh", "-c", SERVE).ok()
    yield "web"
    engine.remove_containers()


def answers(engine: Engine, port: int, address: str = INSIDE) -> bool:
    got = engine.outside("busybox", "timeout", "1", "busybox", "wget", "-q", "-O", "-", f"http://{address}:{port}/")
    return got.stdout == "aboard\n"


def update(engine: Engine, *words: str, name: str = "web") -> str:
    """What it says when it fails."""
    return engine.sampan("update", *words, name).stderr


def ports(engine: Engine, name: str = "web") -> list[str]:
    """Without those of IPv6, which are there whenever all of IPv4 is meant."""
    told = sorted(engine.docker("port", name).out.splitlines())
    sixth = [line for line in told if "[::]:" in line]
    assert {line.replace("[::]:", "0.0.0.0:") for line in sixth} <= set(told)
    return [line for line in told if line not in sixth]


def wished(engine: Engine, name: str = "web") -> Any:
    return json.loads(engine.docker("inspect", "--format", "{{json .HostConfig.PortBindings}}", name).out)


def test_a_port_comes_and_another_one_goes_while_the_container_runs(engine: Engine, web: str) -> None:
    engine.wait_until(lambda: answers(engine, 8080), "it answers")
    assert update(engine, "--publish-add", "9090:81", "--publish-rm", "8080:80") == ""
    assert answers(engine, 9090)
    assert not answers(engine, 8080)
    assert ports(engine) == ["81/tcp -> 0.0.0.0:9090"]
    assert engine.docker("port", "web", "81").out.splitlines() == ["0.0.0.0:9090", "[::]:9090"]
    assert wished(engine) == {"81/tcp": [{"HostIp": "", "HostPort": "9090"}]}
    assert "0.0.0.0:9090->81/tcp" in engine.docker("ps", "--format", "{{.Ports}}").out
    assert [one["Action"] for one in engine.events("container=web", "event=update")] == ["update"]
    engine.docker("restart", "-t", "0", "web").ok()
    engine.wait_until(lambda: answers(engine, 9090), "it is kept across a restart")
    engine.kill()
    engine.start()
    assert ports(engine) == ["81/tcp -> 0.0.0.0:9090"]
    assert answers(engine, 9090), "and across a daemon's death"


def test_one_port_of_the_host_changes_hands_inside_a_container(engine: Engine, web: str) -> None:
    assert update(engine, "--publish-add", "8080:81", "--publish-rm", "80") == ""
    assert ports(engine) == ["81/tcp -> 0.0.0.0:8080"]
    engine.wait_until(lambda: answers(engine, 8080), "it answers")


def test_every_form(engine: Engine, web: str) -> None:
    forms = ["127.0.0.1:7001:80", "7002-7003:82-83/udp", "81", "7100-7110:84", "0.0.0.0:7004:85"]
    assert update(engine, *(word for form in forms for word in ("--publish-add", form))) == ""
    told = [line for line in ports(engine) if not line.startswith(("81/", "84/"))]
    assert told == [
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> 127.0.0.1:7001",
        "82/udp -> 0.0.0.0:7002",
        "83/udp -> 0.0.0.0:7003",
        "85/tcp -> 0.0.0.0:7004",
    ]
    [picked] = [line.rpartition(":")[2] for line in ports(engine) if line.startswith("81/tcp")]
    [ranged] = [line.rpartition(":")[2] for line in ports(engine) if line.startswith("84/tcp")]
    gone = [f"{picked}:81", f"{ranged}:84", "7002-7003:82-83/udp", "127.0.0.1:7001:80", "7004:85"]
    assert update(engine, *(word for form in gone for word in ("--publish-rm", form))) == ""
    assert ports(engine) == ["80/tcp -> 0.0.0.0:8080"]
    assert wished(engine) == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}


def test_of_several_that_were_picked_the_named_one_goes(engine: Engine, web: str) -> None:
    assert update(engine, "--publish-add", "81", "--publish-add", "81") == ""
    first, second = (line.rpartition(":")[2] for line in ports(engine) if line.startswith("81/"))
    assert update(engine, "--publish-rm", f"{first}:81") == ""
    assert ports(engine) == ["80/tcp -> 0.0.0.0:8080", f"81/tcp -> 0.0.0.0:{second}"]


def test_all_or_none_and_conflicts_in_dockers_words(engine: Engine, web: str) -> None:
    engine.docker("run", "-d", "--name", "other", "-p", "7000:70", engine.image(), "sleep", "100").ok()
    before = (ports(engine), wished(engine))
    said = update(engine, "--publish-add", "9091:81", "--publish-add", "7000:81", "--publish-rm", "8080:80")
    assert "Bind for 0.0.0.0:7000 failed: port is already allocated" in said
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in update(engine, "--publish-add", "8080:81")
    said = update(engine, "--memory", "64m", "--memory-swap", "64m", "--publish-add", "7000:81")
    assert "port is already allocated" in said
    assert engine.docker("inspect", "--format", "{{.HostConfig.Memory}}", "web").out == "0"
    said = update(engine, "--publish-add", "9091:81", "--publish-rm", "1234:80")
    assert "No public port '1234:80/tcp' published for web" in said
    assert (ports(engine), wished(engine)) == before
    engine.wait_until(lambda: answers(engine, 8080), "it answers as before")
    assert not answers(engine, 9091)
    engine.docker("rm", "-f", "web").ok()
    engine.docker("run", "--rm", "-p", "9091:1", "-p", "8080:1", engine.image(), "true").ok()


def test_a_port_on_which_the_host_listens(engine: Engine, web: str) -> None:
    script = "import socket, time; s = socket.create_server(('', 9092)); print(flush=True); time.sleep(60)"
    listener = engine.popen(sys.executable, "-c", script, stdout=-1)
    try:
        assert listener.stdout
        listener.stdout.readline()
        assert "failed to bind host port 0.0.0.0:9092/tcp: address already in use" in update(
            engine, "--publish-add", "9092:80"
        )
    finally:
        listener.kill()
        listener.wait()


def test_of_a_stopped_container_only_the_record_changes(engine: Engine, web: str) -> None:
    engine.docker("stop", "-t", "0", "web").ok()
    assert update(engine, "--publish-rm", "8080:80", "--publish-add", "9093:80") == ""
    assert ports(engine) == []
    engine.docker("start", "web").ok()
    assert ports(engine) == ["80/tcp -> 0.0.0.0:9093"]
    engine.wait_until(lambda: answers(engine, 9093), "it answers")


def test_through_the_api(engine: Engine, web: str) -> None:
    add = {"81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9094"}], "82-83/udp": [{"hostport": "9094-9095"}]}
    path = "/containers/web/update"
    status, told = engine.api("POST", path, {"PortBindingsAdd": add, "PortBindingsRemove": {"80/tcp": None}})
    assert (status, told) == (200, {"Warnings": None})
    assert ports(engine) == ["81/tcp -> 127.0.0.1:9094", "82/udp -> 0.0.0.0:9094", "83/udp -> 0.0.0.0:9095"]
    for wrong in ({"x/tcp": None}, {"80/tcp": "8080"}, {"80/tcp": [{"HostPort": "99999"}]}, {"80": [{"HostIp": "x"}]}):
        status, told = engine.api("POST", path, {"PortBindingsAdd": wrong})
        assert (status, "invalid" in told["message"]) == (400, True), told


def test_where_nothing_is_published(engine: Engine, web: str) -> None:
    image = engine.image()
    engine.docker("run", "-d", "--name", "guest", "--network", "container:web", image, "sleep", "100").ok()
    said = update(engine, "--publish-add", "9095:80", name="guest")
    assert "conflicting options: port publishing and the container type network mode" in said
    engine.docker("run", "-d", "--name", "bare", "--network", "host", image, "sleep", "100").ok()
    said = update(engine, "--publish-add", "9095:80", name="bare")
    assert "WARNING: Published ports are discarded when using host network mode" in said
    engine.docker("network", "create", "--internal", "back").ok()
    try:
        engine.docker("run", "-d", "--name", "sealed", "--network", "back", image, "sleep", "100").ok()
        assert update(engine, "--publish-add", "9096:80", name="sealed") == ""
        assert ports(engine, "sealed") == []
        engine.docker("network", "connect", "bridge", "sealed").ok()
        assert ports(engine, "sealed") == ["80/tcp -> 0.0.0.0:9096"], "when there is a way in, it is published"
    finally:
        engine.remove_containers()
        engine.docker("network", "rm", "back").ok()
