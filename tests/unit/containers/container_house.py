"""A containers' service whose drivers, networks, images and monitors are dummies that note what was asked of them."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sampan.config import Config
from sampan.containers.cleaner import Cleaner
from sampan.containers.clock import Clock
from sampan.containers.explaining import Explanations
from sampan.containers.monitors import Exit, Launch, Started, Stream
from sampan.containers.parts import Parts
from sampan.containers.registry import Registry
from sampan.containers.service import Containers
from sampan.containers.snapshots.records import Snapshots
from sampan.drivers.types import RuntimeFeatures, StorageFeatures
from sampan.errors import NotFound, SampanError
from sampan.events import EventBus
from sampan.linux.idmaps import SAME, IdMap
from sampan.state import State
from sampan.types import Container, Endpoint, Image
from sampan.volumes import Volumes

IMAGE = {"config": {"Cmd": ["true"], "Env": ["PATH=/bin", "LANG=C"], "Labels": {"from": "image"}}}
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nweb:x:100:101:Web:/home/web:/bin/sh\n"
GROUPS = "root:x:0:\nwheel:x:10:root,web\nweb:x:101:\n"


class Noted:
    """Remembers every call; a call that is in ``failing`` raises instead."""

    def __init__(self, name: str, calls: list[str], failing: dict[str, SampanError]) -> None:
        self._name, self._calls, self._failing = name, calls, failing

    def note(self, action: str) -> None:
        self._calls.append(f"{self._name}.{action}")
        if error := self._failing.get(f"{self._name}.{action}"):
            raise error


class Storage(Noted):
    def __init__(self, root: Path, *noted: Any) -> None:
        super().__init__("storage", *noted)
        self._root = root
        self.roots: set[str] = set()

    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="overlay")

    def create(self, container: str, layer: str | None, **_: Any) -> None:
        self.roots.add(container)
        self.note("create")

    def mount(self, container: str) -> int:
        self.note("mount")
        return os.open(self._root, os.O_PATH | os.O_DIRECTORY)

    def unmount(self, container: str) -> None:
        self.note("unmount")

    def remove(self, container: str) -> None:
        self.note("remove")
        self.roots.discard(container)


class Runtime(Noted):
    monitor_module = "dummy"

    def __init__(self, monitors: Monitors, *noted: Any) -> None:
        super().__init__("runtime", *noted)
        self._monitors = monitors
        self.limits: dict[str, Mapping[str, Any]] = {}

    def features(self) -> RuntimeFeatures:
        return RuntimeFeatures()

    def order(self, bundle: Any) -> Mapping[str, Any]:
        self.note("order")
        return {}

    def exec_order(self, process: Any, pid: int, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"process": process.process}

    def signal(self, container: str, pid: int, signal: int) -> None:
        self.note(f"signal {signal}")
        if signal in self._monitors.deadly:
            self._monitors.end(container, 128 + signal)

    def pause(self, container: str) -> None:
        self.note("pause")

    def resume(self, container: str) -> None:
        self.note("resume")

    def frozen(self, container: str) -> bool:
        return False

    def starvation(self, container: str) -> int | None:
        return None

    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        self.limits[container] = resources
        self.note("update")

    def remove(self, container: str) -> None:
        self.note("remove")


class Networks(Noted):
    def plan(self, host: Mapping[str, Any], networking: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
        return {"bridge": Endpoint(network="n" * 64, network_name="bridge")}

    def landings(self, _container: Container) -> list[Any]:
        return []

    def attach(self, container: Container, users: Path | bool = False) -> Path | None:
        self.note("attach")
        return Path("/run/netns/x")

    def user_namespace(self, container_id: str) -> Path:
        return Path("/run/userns") / container_id

    def detach(self, container: Container) -> None:
        self.note("detach")

    def gateway(self, container: Container) -> str:
        return "10.0.0.1"

    def has_names(self, container: Container) -> bool:
        return False

    def renamed(self, container: Container) -> None:
        self.note("renamed")


class Images(Noted):
    config: dict[str, Any] = IMAGE

    def get(self, reference: str) -> Image:
        if reference != "t:1":
            raise NotFound(f"No such image: {reference}")
        return Image(id="sha256:" + "i" * 64, config=self.config, layers=[], created="", size=0)

    def holding(self, image: Image) -> Any:
        return nullcontext()

    def layer_for(self, image: Image, storage: str | None = None) -> str | None:
        return "l" * 64

    def collect(self) -> None:
        return


class Monitors(Noted):
    """``end`` is what a real monitor's report does."""

    def __init__(self, *noted: Any) -> None:
        super().__init__("monitors", *noted)
        self.on_exit: Any = None
        self.running: dict[str, Launch] = {}
        self.deadly: set[int] = {9, 15}
        self.next_exit: int | None = None

    stream = staticmethod(lambda **wants: _stream(tuple(wants.values())))

    def start(self, launch: Launch, *, timeout: float = 60.0, meanwhile: Callable[[], None] = lambda: None) -> Started:
        meanwhile()
        for stream in launch.streams:
            stream.theirs.close()
        self.note(f"start {launch.kind}")
        self.running[launch.key] = launch
        if self.next_exit is not None:
            self.end(launch.key, self.next_exit)
        return Started(os.getpid(), 2, time.time_ns())

    def ask(self, launch: Launch) -> Callable[[], Started]:
        started = self.start(launch)
        return lambda: started

    def end(self, key: str, code: int, **more: Any) -> None:
        if self.running.pop(key, None):
            self.on_exit(key, Exit(code, more.pop("oom", False), time.time_ns(), **more))

    def lives(self, key: str) -> bool:
        return key in self.running

    def forget(self, key: str) -> None:
        self.note("forget")


def _stream(wants: Any) -> tuple[socket.socket, Stream]:
    ours, theirs = socket.socketpair()
    return ours, Stream(theirs, wants)


class House:
    """Everything together; ``calls`` is what was asked of the dummies, ``failing`` what they refuse."""

    def __init__(self, directory: Path, ids: IdMap = SAME, **settings: Any) -> None:
        root = directory / "root"
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text(ACCOUNTS)
        (root / "etc/group").write_text(GROUPS)
        self.calls: list[str] = []
        self.failing: dict[str, SampanError] = {}
        noted = (self.calls, self.failing)
        self.monitors = Monitors(*noted)
        self.runtime = Runtime(self.monitors, *noted)
        self.storage = Storage(root, *noted)
        self.images = Images("images", *noted)
        self.events: list[str] = []
        bus = EventBus()
        bus.subscribe(lambda event: self.events.append(event["Action"]))
        drivers = SimpleNamespace(
            runtime=self._driver("native", self.runtime),
            storage=self._driver("overlayfs", self.storage),
            ours=lambda family, name: True,
            hooks=SimpleNamespace(creating=lambda container, labels: None, starting=lambda container, spec: None),
        )
        config = Config(data_root=directory / "data", exec_root=directory / "run", **settings)
        state = State(directory / "engine.db")
        clock = Clock()
        self.parts = Parts(
            config=config,
            state=state,
            events=bus,
            drivers=drivers,  # type: ignore[arg-type]
            images=self.images,  # type: ignore[arg-type]
            networks=Networks("networks", *noted),  # type: ignore[arg-type]
            volumes=Volumes(config, state, bus),
            monitors=self.monitors,  # type: ignore[arg-type]
            registry=Registry(),
            cleaner=Cleaner(),
            clock=clock,
            snapshots=Snapshots(state),
            ids=ids,
            explanations=Explanations(config.data_root / "containers", clock),
        )
        self.containers = Containers(self.parts)
        self.monitors.on_exit = self.containers.exited

    @staticmethod
    def _driver(name: str, driver: Any) -> Any:
        def find(wanted: str | None = None) -> Any:
            if wanted not in (None, name):
                raise NotFound(f"no driver is called {wanted!r}")
            return driver

        return find

    def create(self, name: str | None = None, host: dict[str, Any] | None = None, **config: Any) -> Container:
        body = {"Image": "t:1", **config, "HostConfig": host or {}}
        return self.containers.create(name, body)[0]

    def recorded(self) -> dict[str, Container]:
        return self.parts.state.load("containers", Container)

    def end(self, record: Container, code: int, **more: Any) -> None:
        """The process ends, and the service has dealt with it."""
        entry = self.parts.registry.find(record.id)
        self.monitors.end(record.id, code, **more)
        assert entry.ended.wait(10)

    def settle(self) -> None:
        assert self.parts.cleaner.settle(10)

    def close(self) -> None:
        self.containers.close()
        self.parts.state.close()


@contextmanager
def house(directory: Path, **settings: Any) -> Iterator[House]:
    made = House(directory, **settings)
    try:
        yield made
    finally:
        made.close()


def eventually(condition: Any, seconds: float = 10.0) -> None:
    """Wait for what another thread does."""
    patience = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        patience.wait(0.005)
