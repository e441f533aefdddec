"""Who can reach whom: published ports from everywhere, the way out, and networks without one."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator

import pytest

from harness import Engine
from harness.net import INSIDE, OUTSIDE

pytestmark = pytest.mark.root

SERVE = 'echo "aboard" >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp'


@pytest.fixture
def server(engine: Engine) -> Iterator[str]:
    """A web server on the default bridge, published on port 8080."""
    name = f"server-{uuid.uuid4().hex[:8]}"
    engine.sampan("run", "-d", "--name", name, "-p", "8080:80", engine.image(), "sh", "-c", SERVE).ok()
    yield name
    engine.sampan("rm", "-f", name).ok()


def get(url: str) -> list[str]:
    """busybox's own ``wget -T`` crashes in some distributions."""
    return ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", url]


def fetched(engine: Engine, url: str) -> bool:
    return engine.run(*get(url)).stdout == "aboard\n"


def address(engine: Engine, name: str) -> str:
    [told] = json.loads(engine.sampan("inspect", name).out)
    [network] = told["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def test_a_published_port_answers_from_everywhere(engine: Engine, server: str) -> None:
    engine.wait_until(lambda: fetched(engine, "http://127.0.0.1:8080/"), "127.0.0.1 answers")
    assert engine.run(*get(f"http://{INSIDE}:8080/")).out == "aboard"
    assert engine.run(*get(f"http://{address(engine, server)}/")).out == "aboard"
    assert engine.outside(*get(f"http://{INSIDE}:8080/")).out == "aboard"
    gateway = engine.sampan("inspect", "--format", "{{.NetworkSettings.Networks.bridge.Gateway}}", server).out
    neighbour = ["run", "--rm", engine.image()]
    assert engine.sampan(*neighbour, *get(f"http://{address(engine, server)}/")).out == "aboard"
    assert engine.sampan(*neighbour, *get(f"http://{gateway}:8080/")).out == "aboard"


def test_an_unpublished_port_is_not_reached_from_outside(engine: Engine, server: str) -> None:
    engine.outside("ip", "route", "replace", "172.16.0.0/12", "via", INSIDE).ok()
    engine.wait_until(lambda: fetched(engine, "http://127.0.0.1:8080/"), "127.0.0.1 answers")
    assert engine.outside(*get(f"http://{INSIDE}:8080/")).out == "aboard"
    assert engine.outside(*get(f"http://{address(engine, server)}/")).code != 0


def test_the_port_is_free_again_at_the_end(engine: Engine) -> None:
    engine.image()
    before = engine.leftovers()
    for _ in range(2):
        engine.sampan("run", "--rm", "-p", "8081:80", engine.image(), "true").ok()
    engine.assert_as_before(before)
    assert engine.run(*get("http://127.0.0.1:8081/")).code != 0


LISTEN = """
import socket
server = socket.create_server(("", 7000))
print("listening", flush=True)
connection, (address, _) = server.accept()
print(address, connection.makefile().readline().strip())
"""


def test_the_way_out_is_masqueraded(engine: Engine) -> None:
    listener = engine.popen(*engine.net.enter(engine.net.outside), sys.executable, "-c", LISTEN, stdout=-1)
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"listening\n"
        say = f"echo hello | busybox nc -w 5 {OUTSIDE} 7000"
        engine.sampan("run", "--rm", engine.image(), "sh", "-c", say).ok()
        assert listener.communicate(timeout=10)[0].decode().split() == [INSIDE, "hello"]
    finally:
        listener.kill()
        listener.wait()


def test_an_internal_network_reaches_itself_and_nothing_else(engine: Engine) -> None:
    network, name = f"harbour-{uuid.uuid4().hex[:6]}", f"ferry-{uuid.uuid4().hex[:6]}"
    before = engine.leftovers()
    engine.sampan("network", "create", "--driver", "internal", network).ok()
    engine.sampan("run", "-d", "--name", name, "--network", network, engine.image(), "sh", "-c", SERVE).ok()
    try:
        inside = ["run", "--rm", "--network", network, engine.image()]
        url = f"http://{address(engine, name)}/"
        engine.wait_until(lambda: engine.sampan(*inside, *get(url)).stdout == "aboard\n", "the neighbour answers")
        assert engine.sampan(*inside, *get(f"http://{OUTSIDE}/")).code != 0
        assert engine.sampan(*inside, "busybox", "ping", "-c", "1", "-W", "1", INSIDE).code != 0
    finally:
        engine.sampan("rm", "-f", name).ok()
        engine.sampan("network", "rm", network).ok()
    engine.assert_as_before(before)


def test_none_and_host(engine: Engine) -> None:
    links = "ls /sys/class/net"
    assert engine.sampan("run", "--rm", "--network", "none", engine.image(), "sh", "-c", links).out == "lo"
    host = engine.sampan("run", "--rm", "--network", "host", engine.image(), "sh", "-c", "cat /proc/net/dev").out
    assert "up0:" in host
