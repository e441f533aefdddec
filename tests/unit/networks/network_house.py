"""What an engine has of networks, with the real drivers, in a network namespace of a test's own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from sampan.config import Config
from sampan.events import EventBus
from sampan.networks import Networks
from sampan.plugins import Drivers
from sampan.state import State
from sampan.testing.wires import Namespace
from sampan.types import Container

INSTANCE = "7e57ab1e"


class House:
    """What an engine has of networks, and can lose."""

    def __init__(self, root: Path) -> None:
        self.config = Config(data_root=root / "data", exec_root=root / "exec")
        self.events = EventBus()
        self.running: list[Container] = []
        self.state, self.networks = self._open()

    def _open(self) -> tuple[State, Networks]:
        state = State(self.config.data_root / "engine.db")
        networks = Networks(self.config, state, self.events, Drivers(self.config, INSTANCE))
        networks.open(self.running)
        networks.in_use = lambda ident: [
            one for one in self.running if ident in [endpoint.network for endpoint in one.endpoints.values()]
        ]
        return state, networks

    def crash(self) -> None:
        """The daemon is killed and starts again; what it kept open is closed, nothing else."""
        self.networks._sandboxes.close()
        self.state.close()
        self.state, self.networks = self._open()

    def container(self, mode: str = "default", *, networking: Any = None, ports: Any = None) -> Container:
        ident = secrets.token_hex(32)
        host_config = {"NetworkMode": mode, "PortBindings": ports or {}, "PublishAllPorts": False}
        config: dict[str, Any] = {"ExposedPorts": {}}
        endpoints = self.networks.plan(host_config, networking, config)
        return Container(
            id=ident,
            name=f"c-{ident[:6]}",
            created="",
            image="",
            image_reference="",
            layer="",
            config=config,
            host_config=host_config,
            path="",
            args=[],
            storage_driver="",
            runtime="",
            endpoints=endpoints,
        )

    def start(self, mode: str = "default", **wishes: Any) -> Container:
        container = self.container(mode, **wishes)
        self.networks.attach(container)
        self.running.append(container)
        return container

    def stop(self, container: Container) -> None:
        self.networks.detach(container)
        self.running.remove(container)

    def inside(self, container: Container) -> Namespace:
        namespace = Namespace.__new__(Namespace)
        namespace.fd = os.open(self.networks.sandbox(container.id), os.O_RDONLY | os.O_CLOEXEC)
        namespace.path = self.networks.sandbox(container.id)
        return namespace

    def files(self) -> list[str]:
        """Of containers: the host's own is always there."""
        return [path.name for path in (self.config.exec_root / "netns").iterdir() if path.name != "default"]


def address(container: Container, network: str = "bridge") -> str:
    spec = container.endpoints[network].spec
    assert spec is not None
    return spec.addresses[0].partition("/")[0]
