"""An engine for the API's tests: the services' contracts, answered from memory."""

from __future__ import annotations

import asyncio
import builtins
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from sampan.config import Config
from sampan.containers.streams.logformats import LogEntry
from sampan.containers.streams.logs import Wanted
from sampan.drivers.types import EndpointSpec, NetworkSpec, PortBinding, Stats, Subnet
from sampan.errors import Conflict, Invalid, NotFound, StartFailed
from sampan.events import EventBus
from sampan.linux.idmaps import SAME
from sampan.types import Container, Endpoint, Exec, Image, Layer, Network, State, Status, Volume

NETWORK = "b" * 64
IMAGE = "sha256:" + "1" * 64


def container(letter: str, name: str, **changes: Any) -> Container:
    made = Container(
        id=letter * 64,
        name=name,
        created=f"2024-01-0{int(letter, 16) % 9 + 1 if letter < 'a' else ord(letter) - 96}T00:00:00.123456789Z",
        image=IMAGE,
        image_reference="busybox",
        layer="2" * 64,
        config={"Tty": False, "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Hostname": "h"},
        host_config={"NetworkMode": "bridge", "PortBindings": {}},
        path="sleep",
        args=["1 2", "3"],
        storage_driver="overlayfs",
        runtime="native",
    )
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def running(letter: str = "a", name: str = "web") -> Container:
    spec = EndpointSpec(
        id="e" * 64, container=letter * 64, interface="eth0", addresses=("172.17.0.2/16",), mac="02:42:ac:11:00:02"
    )
    port = PortBinding(protocol="tcp", container_port=80, host_ip="0.0.0.0", host_port=8080)
    return container(
        letter,
        name,
        state=State(status=Status.RUNNING, pid=4242, started_at="2024-01-02T00:00:00Z"),
        endpoints={"bridge": Endpoint(network=NETWORK, network_name="bridge", spec=spec, ports=[port])},
    )


class Containers:
    def __init__(self) -> None:
        self.records: dict[str, Container] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.far: socket.socket | None = None
        self.attached = threading.Event()
        self.exit: asyncio.Future[tuple[int, str]] | None = None
        self.waits = 0

    def add(self, *records: Container) -> None:
        self.records.update({record.id: record for record in records})

    def get(self, reference: str) -> Container:
        for found in self.records.values():
            if reference in (found.name, found.id) or found.id.startswith(reference):
                return found
        raise NotFound(f"No such container: {reference}")

    def list(self) -> builtins.list[Container]:
        return sorted(self.records.values(), key=lambda record: record.created, reverse=True)

    latest = get

    def files(self, reference: str) -> dict[str, str]:
        return {"hosts": "/run/hosts"}

    def links(self, reference: str) -> builtins.list[str]:
        return []

    def link_names(self) -> dict[str, builtins.list[str]]:
        return {}

    def logs(self, reference: str, wanted: Wanted) -> Iterator[LogEntry]:
        self.calls.append(("logs", wanted))
        yield LogEntry("stdout", "2024-01-01T00:00:00.000000001Z", b"out\n")
        yield LogEntry("stderr", "2024-01-01T00:00:00.000000002Z", b"err\n")

    def resize(self, reference: str, rows: int, columns: int) -> None:
        self.calls.append(("resize", rows, columns))

    async def follow(self, reference: str, wanted: Wanted) -> AsyncIterator[list[LogEntry]]:
        yield list(self.logs(reference, wanted))
        self.exit = asyncio.get_running_loop().create_future()
        self.waits += 1
        try:
            await self.exit
        finally:
            self.waits -= 1

    def create(
        self, name: str | None, body: dict[str, Any], platform: str = "", *, shallow: bool
    ) -> tuple[Container, list[str]]:
        self.calls.append(("create", name, body, platform, shallow))
        if name == "taken":
            raise Conflict('The container name "/taken" is already in use')
        made = container("c", name or "some_name")
        self.add(made)
        return made, ["be careful"]

    def start(self, reference: str) -> None:
        if reference == "nocommand":
            raise StartFailed('exec: "nosuch": executable file not found in $PATH', 127)
        if reference == "broken":
            raise ZeroDivisionError("a bug")
        self.get(reference)

    def attach(self, reference: str, **wanted: bool) -> socket.socket:
        self.get(reference)
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.calls.append(("attach", wanted))
        self.attached.set()
        return near

    def detached(self, reference: str) -> None:
        self.calls.append(("detached", reference))

    async def wait(self, reference: str, condition: str) -> tuple[int, str]:
        self.get(reference)
        self.waits += 1
        self.exit = asyncio.get_running_loop().create_future()
        try:
            return await self.exit
        finally:
            self.waits -= 1

    def stats(self, reference: str) -> Stats:
        return Stats(cpu_ns=5, pids=1)

    def update(self, reference: str, body: dict[str, Any]) -> list[str]:
        self.get(reference)
        self.calls.append(("update", body))
        return ["be careful"] if body.get("OomKillDisable") else []


class Images:
    def __init__(self) -> None:
        self.received = 0
        self.gate = threading.Event()
        self.gate.set()
        self.image = Image(
            id=IMAGE,
            config={"architecture": "amd64", "os": "linux", "config": {"Labels": {"l": "1"}}},
            layers=[Layer(diff_id="sha256:" + "2" * 64, size=7)],
            created="2024-01-01T00:00:00Z",
            size=7,
            references=["docker.io/library/busybox:latest"],
        )

    def get(self, reference: str) -> Image:
        if reference in ("busybox", "busybox:latest", IMAGE):
            return self.image
        raise NotFound(f"No such image: {reference}")

    def select(self, names: builtins.list[str]) -> Any:
        return [(self.get(name), self.image.references) for name in names]

    def list(self) -> Any:
        return [self.image]

    def load(self, stream: BinaryIO, progress: Any) -> list[str]:
        self.gate.wait(10)
        while data := stream.read(100_000):
            self.received += len(data)
            if b"corrupt" in data:
                raise Invalid("the archive is corrupt")
            if data.endswith(b"enough"):
                break
        progress({"stream": "Loaded image: x:1\n"})
        return ["x:1"]

    def save(self, names: list[str], out: BinaryIO) -> None:
        for _ in range(64):
            out.write(b"x" * 65536)


class Networks:
    def sandbox_of(self, container: Container) -> str:
        return f"/netns/{container.id}" if container.state.pid else ""

    def __init__(self) -> None:
        subnet = Subnet(subnet="172.17.0.0/16", gateway="172.17.0.1")
        spec = NetworkSpec(id=NETWORK, name="bridge", driver="bridge", subnets=(subnet,))
        self.network = Network(spec=spec, created="2024-01-01T00:00:00Z")

    def get(self, reference: str) -> Network:
        if reference in (NETWORK, "bridge"):
            return self.network
        raise NotFound(f"network {reference} not found")

    def list(self) -> list[Network]:
        return [self.network]

    def used(self, network: Network) -> bool:
        return False


class Execs:
    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def get(self, ident: str) -> Exec:
        return Exec(id=ident, container="a" * 64, config={"Tty": False, "Cmd": ["true"]})

    known = get

    def begin(
        self, ident: str, *, detach: bool, framed: bool, size: tuple[int, int] | None
    ) -> tuple[socket.socket | None, Callable[[], None]]:
        self._containers.calls.append(("exec", ident, framed, size))
        return None if detach else self._containers.attach("web"), lambda: None

    def resize(self, ident: str, rows: int, columns: int) -> None:
        self._containers.resize(ident, rows, columns)

    def of(self, container: str) -> list[str]:
        return []


class Volumes:
    """``used`` are in use by one container."""

    def __init__(self) -> None:
        self.used = {"old"}
        self.records = [
            Volume(name="log", created="2024-01-01T00:00:00.5Z", labels={"a": "b"}),
            Volume(name="old", created="2024-01-02T00:00:00.5Z", options={"type": "tmpfs", "device": "tmpfs"}),
            Volume(name="9" * 64, created="2024-01-03T00:00:00.5Z", labels={"com.docker.volume.anonymous": ""}),
        ]

    def list(self) -> builtins.list[Volume]:
        return self.records

    def get(self, name: str) -> Volume:
        for record in self.records:
            if record.name == name:
                return record
        raise NotFound(f"get {name}: no such volume")

    def users(self, name: str) -> builtins.list[str]:
        return ["a" * 64] if name in self.used else []

    def usage(self, name: str) -> int:
        return 12

    def mountpoint(self, name: str) -> Path:
        return Path(f"/volumes/{name}/_data")

    def remove(self, name: str) -> None:
        self.records.remove(self.get(name))

    def prune(self, wanted: Callable[[Volume], bool]) -> tuple[builtins.list[str], int]:
        going = [record for record in self.records if wanted(record) and record.name not in self.used]
        for record in going:
            self.records.remove(record)
        return [record.name for record in going], 12 * len(going)


class Engine:
    def __init__(self) -> None:
        self.config = Config()
        self.ids = SAME
        self.instance = "0123abcd"
        self.events = EventBus()
        self.containers = Containers()
        self.images = Images()
        self.networks = Networks()
        self.execs = Execs(self.containers)
        self.volumes = Volumes()
        storage = SimpleNamespace(usage=lambda ident: 11, describe=lambda ident: {"UpperDir": "/there"})
        self.drivers = SimpleNamespace(
            storage=lambda name=None: storage, loaded=lambda family: {"native": None}, found=list
        )
