"""An ``Images`` service on storage drivers that are nothing but directories."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sampan.config import ImagesConfig
from sampan.drivers.storage import StorageDriver
from sampan.drivers.types import Change, Check, Host, StorageFeatures
from sampan.errors import Conflict, NotFound
from sampan.events import EventBus
from sampan.images.confined.workers import Workers
from sampan.images.service import Images
from sampan.state import State
from sampan.types import Container
from sampan.types import State as ContainerState

WORKERS = Workers()
"""One for all, for it takes a moment to start."""


class Directories(StorageDriver):
    """Layers are whole copies. Containers are only remembered."""

    def __init__(self, root: Path) -> None:
        super().__init__(Host(instance="00000000", data_root=root, exec_root=root), self.Options())
        self.root = root
        self.parents: dict[str, str | None] = {}
        self.containers: dict[str, str | None] = {}
        self.begun: list[str] = []

    def check(self) -> Check:
        return Check(True)

    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="in-place")

    def restore(self, layers: Any, containers: Any) -> None:
        for layer in [each for each in self.parents if each not in layers]:
            del self.parents[layer]

    def layers(self) -> set[str]:
        return set(self.parents)

    def begin_layer(self, layer: str, parent: str | None) -> Path:
        if layer in self.parents:
            raise Conflict(layer)
        if parent is not None and parent not in self.parents:
            raise NotFound(parent)
        self.begun.append(layer)
        directory = self.root / layer
        shutil.rmtree(directory, ignore_errors=True)
        if parent is None:
            directory.mkdir(parents=True)
        else:
            shutil.copytree(self.root / parent, directory, symlinks=True)
        (self.root / f"{layer}.parent").write_text(parent or "")
        return directory

    def commit_layer(self, layer: str) -> None:
        self.parents[layer] = (self.root / f"{layer}.parent").read_text() or None

    def remove_layer(self, layer: str) -> None:
        if layer in self.parents.values() or layer in self.containers.values():
            raise Conflict(layer)
        self.parents.pop(layer, None)
        shutil.rmtree(self.root / layer, ignore_errors=True)
        (self.root / f"{layer}.parent").unlink(missing_ok=True)

    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        self.containers[container] = layer

    def mount(self, container: str) -> int:
        raise NotImplementedError

    def remove(self, container: str) -> None:
        self.containers.pop(container, None)

    def changes(self, container: str) -> Iterator[Change]:
        raise NotImplementedError

    def usage(self, container: str) -> int:
        return 0


class House:
    """The service with everything around it that a test wants to see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.drivers = {name: Directories(root / name) for name in ("first", "second")}
        self.events = EventBus()
        self.containers: list[Container] = []
        self.open()

    def open(self) -> None:
        """As a daemon does when it starts."""
        self.state = State(self.root / "engine.db")
        drivers = SimpleNamespace(
            storage=lambda name=None: self.drivers[name or "first"], loaded=lambda family: self.drivers
        )
        config = SimpleNamespace(data_root=self.root, images=ImagesConfig())
        self.images = Images(cast(Any, config), self.state, self.events, cast(Any, drivers), workers=WORKERS)
        self.images.open()
        self.images.in_use = lambda ident: [each for each in self.containers if each.image == ident]

    def actions(self) -> list[str]:
        return [event["Action"] for event in self.events.subscribe(lambda event: None, since=0)]

    def files(self) -> set[str]:
        """Everything on disk but the database."""
        return {
            str(Path(directory, name).relative_to(self.root))
            for directory, _, names in os.walk(self.root)
            for name in names
            if not name.startswith("engine.db")
        }

    def container(self, reference: str, status: str = "running") -> Container:
        image = self.images.get(reference)
        layer = self.images.layer_for(image) or ""
        ident = hashlib.sha256(str(len(self.containers)).encode()).hexdigest()
        made = Container(
            id=ident,
            name="some",
            created="",
            image=image.id,
            image_reference=reference,
            layer=layer,
            config={},
            host_config={},
            path="",
            args=[],
            storage_driver="first",
            runtime="native",
            state=ContainerState(status=cast(Any, status)),
        )
        self.drivers["first"].create(ident, layer)
        self.containers.append(made)
        return made

    def remove_container(self, container: Container) -> None:
        self.drivers["first"].remove(container.id)
        self.containers.remove(container)
        self.images.collect()

    def tree(self, reference: str, storage: str = "first") -> dict[str, bytes]:
        """The files of an image as its topmost layer has them."""
        image = self.images.get(reference)
        with self.images.holding(image):
            layer = self.images.layer_for(image, storage)
            top = self.drivers[storage].root / str(layer)
            return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
