"""(g) Throughput of networks, and (h) what they take: connections, endpoints, ports, and the two hundredth of them.

iperf3 and the servers are this machine's own, put into containers' network namespaces: the packets go the way that
those of the container's own programs go. Who sends and who receives are on different processors, always the same ones,
for whether they share one decides more than all else does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from reporting import OURS, Part, Row, at_most, at_most_more, more, within
from rounds import take_turns
from scratch import IMAGE, Scratch
from warm_connection import WarmConnection

from harness.dockerd import Dockerd
from harness.engine import Engine
from harness.net import INSIDE
from sampan.linux import netns

ROUNDS = 15
SECONDS = "1"  # of one iperf3 run
CONNECTIONS = 200
MANY = 200
OPEN, LOCAL, REQUESTS = 5201, 5202, 5203  # published: on all addresses, on 127.0.0.1, and that for requests
FIRST, NEXT = "beside none", "no port"
SERVER = """
import socket
server = socket.create_server(("0.0.0.0", 5203), backlog=512)
while True:
    client, _ = server.accept()
    client.recv(64)
    client.sendall(b"aboard")
    client.close()
"""


def throughput(scratch: Scratch, runs: int) -> Part:
    part = Part("throughput of one TCP connection (iperf3)", "Gbit/s")
    if shutil.which("iperf3") is None:
        part.notes.append("iperf3 is not installed")
        return part
    scratch.tell("(g)")
    with ExitStack() as stack:
        sites = [stack.enter_context(_Site(name, engine)) for name, engine in _engines(scratch).items()]
        for what, goal in (
            ("container to host", 1),
            ("container to container", 1),
            ("a published port, from another host", 1),
            ("published on 127.0.0.1, from the host", 1.5),
            ("a published port, from a container", 1),
        ):
            subjects = {site.name: partial(site.flow, what) for site in sites}
            figures = take_turns(subjects, max(runs, ROUNDS), scratch.tell)
            part.rows.append(Row(what, figures, more("dockerd", goal)))
    return part


def times(scratch: Scratch, runs: int) -> Part:
    part = Part("what networks take", "ms")
    scratch.tell("(h)")
    with ExitStack() as stack:
        sites = {name: stack.enter_context(_Site(name, engine)) for name, engine in _engines(scratch).items()}
        part.rows = [
            Row(
                "connection and request, published on 127.0.0.1",
                take_turns({name: site.connection for name, site in sites.items()}, runs, scratch.tell),
                at_most("dockerd", 0.5),
            ),
            Row(
                "connecting a running container to a network",
                take_turns({name: site.connect for name, site in sites.items()}, runs, scratch.tell),
                within(10),
            ),
            *_growing(scratch, sites, runs),
        ]
    part.notes.append(
        f"{FIRST}: the same, by another sampan that has not {MANY} of them; {NEXT}: without a published port"
    )
    return part


def _growing(scratch: Scratch, sites: dict[str, _Site], runs: int) -> list[Row]:
    """Starts with a port and without; a network and a port when there are none, and, in a second engine of ours, beside
    200. dockerd takes minutes to make so many."""
    ours = sites[OURS]
    rivals = {name: partial(site.start, ports=True) for name, site in sites.items() if name != OURS}
    own = {OURS: partial(ours.start, ports=True), NEXT: partial(ours.start, ports=False)}
    # A small difference of two times that vary: apart from those whose ends keep the machine busy for a while.
    ported = take_turns(own, 8 * max(runs, ROUNDS), scratch.tell) | take_turns(rivals, runs, scratch.tell)
    before = take_turns({name: site.network for name, site in sites.items()}, runs, scratch.tell)
    with _Site("crowded", scratch.another("c")) as crowded:
        crowded.grow()
        starts = {OURS: partial(crowded.start, ports=True), FIRST: partial(ours.start, ports=True)}
        ports = take_turns(starts, max(runs, ROUNDS), scratch.tell)
        networks = take_turns({OURS: crowded.network, FIRST: ours.network}, max(runs, ROUNDS), scratch.tell)
    return [
        Row("a start with a published port", ported, at_most_more(NEXT, 1)),
        Row(f"a start with a published port, beside {MANY}", ports, at_most(FIRST, 1.2)),
        Row("one more network", before),
        Row(f"one more network, beside {MANY}", networks, at_most(FIRST, 1.2)),
    ]


def _engines(scratch: Scratch) -> dict[str, Engine | Dockerd]:
    engines: dict[str, Engine | Dockerd] = {OURS: scratch.sampan}
    if scratch.dockerd:
        engines["dockerd"] = scratch.dockerd
    return engines


class _Site:
    """One engine with two containers on its default network, and servers in the first of them."""

    def __init__(self, name: str, engine: Engine | Dockerd) -> None:
        self.name = name
        self._net = engine.net
        self._api = WarmConnection(engine.socket)
        self._made: list[str] = []
        self._networks: list[str] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def __enter__(self) -> _Site:
        bindings = {
            f"{OPEN}/tcp": [{"HostPort": str(OPEN)}],
            f"{LOCAL}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(LOCAL)}],
            f"{REQUESTS}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(REQUESTS)}],
        }
        self._server, self._client = self._container(bindings), self._container({})
        for port in (OPEN, LOCAL) if shutil.which("iperf3") else ():
            self._serve([*self._inside(self._server), *_on_processor(1), "iperf3", "-s", "-p", str(port)])
        self._serve([*self._on_host(), *_on_processor(1), "iperf3", "-s", "-p", "5210"])
        self._serve([*self._inside(self._server), sys.executable, "-c", SERVER])
        time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        for ident in self._made:
            self._api.ask("DELETE", f"/containers/{ident}?force=true")
        for ident in self._networks:
            self._api.ask("DELETE", f"/networks/{ident}")
        self._api.close()

    # ── packets ─────────────────────────────────────────────────────────────────────────────────────────────────

    def flow(self, what: str) -> float:
        """Gbit/s."""
        inside = self._inside(self._client)
        server, gateway = self._address(self._server)
        where, address, port = {
            "container to host": (inside, gateway, 5210),
            "container to container": (inside, server, OPEN),
            "a published port, from another host": (self._net.enter(self._net.outside), INSIDE, OPEN),
            "published on 127.0.0.1, from the host": (self._on_host(), "127.0.0.1", LOCAL),
            "a published port, from a container": (inside, INSIDE, OPEN),
        }[what]
        command = [*where, *_on_processor(0), "iperf3", "-J", "-t", SECONDS, "-c", address, "-p", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        told = json.loads(done.stdout or "{}")
        if done.returncode or "error" in told:
            raise RuntimeError(f"{what}: iperf3: {told.get('error') or done.stderr}")
        return float(told["end"]["sum_received"]["bits_per_second"]) / 1e9

    def connection(self) -> float:
        """Seconds for one, in the mean of many."""

        def many() -> float:
            began = time.perf_counter()
            for _ in range(CONNECTIONS):
                with socket.create_connection(("127.0.0.1", REQUESTS), 5) as client:
                    client.sendall(b"hello")
                    if client.recv(64) != b"aboard":
                        raise RuntimeError("the server in the container did not answer")
            return (time.perf_counter() - began) / CONNECTIONS

        return netns.inside(self._net.inside, many)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, *, ports: bool) -> float:
        self._count += 1
        bindings = {"80/tcp": [{"HostPort": str(20000 + self._count)}]} if ports else {}
        body = {"Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": {"PortBindings": bindings}}
        ident = self._api.ask("POST", "/containers/create", body)["Id"]
        taken = _taken(lambda: self._api.ask("POST", f"/containers/{ident}/start"))
        self._api.ask("DELETE", f"/containers/{ident}?force=true")
        return taken

    def network(self) -> float:
        began = time.perf_counter()
        ident = self._make_network()
        taken = time.perf_counter() - began
        self._api.ask("DELETE", f"/networks/{ident}")
        return taken

    def connect(self) -> float:
        ident = self._make_network()
        body = {"Container": self._client}
        taken = _taken(lambda: self._api.ask("POST", f"/networks/{ident}/connect", body))
        self._api.ask("POST", f"/networks/{ident}/disconnect", body)
        self._api.ask("DELETE", f"/networks/{ident}")
        return taken

    def grow(self) -> None:
        """So many networks, and so many published ports."""
        self._networks += [self._make_network() for _ in range(MANY)]
        ports = {f"{port}/tcp": [{"HostPort": str(30000 + port)}] for port in range(1, MANY + 1)}
        self._container(ports)

    def _make_network(self) -> str:
        self._count += 1
        subnet = f"10.{100 + self._count // 250}.{self._count % 250}.0/24"
        body = {"Name": f"bench-{self._count}", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": subnet}]}}
        return str(self._api.ask("POST", "/networks/create", body)["Id"])

    def _container(self, bindings: dict[str, Any]) -> str:
        exposed: dict[str, Any] = {key: {} for key in bindings}
        host = {"PortBindings": bindings}
        body = {"Image": IMAGE, "Cmd": ["sleep", "100000"], "ExposedPorts": exposed, "HostConfig": host}
        ident = str(self._api.ask("POST", "/containers/create", body)["Id"])
        self._made.append(ident)
        self._api.ask("POST", f"/containers/{ident}/start")
        return ident

    # ── places ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _address(self, ident: str) -> tuple[str, str]:
        """The container's, and its gateway's."""
        network = self._api.ask("GET", f"/containers/{ident}/json")["NetworkSettings"]["Networks"]["bridge"]
        return network["IPAddress"], network["Gateway"]

    def _inside(self, ident: str) -> list[str]:
        pid = self._api.ask("GET", f"/containers/{ident}/json")["State"]["Pid"]
        return ["nsenter", "-t", str(pid), "-n"]

    def _on_host(self) -> list[str]:
        return self._net.enter(self._net.inside)

    def _serve(self, command: list[str]) -> None:
        quiet = subprocess.DEVNULL
        self._servers.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))


def _on_processor(number: int) -> list[str]:
    usable = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(usable[number])] if len(usable) > number else []


def _taken(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
