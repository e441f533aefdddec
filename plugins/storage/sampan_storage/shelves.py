"""Where layers and containers' roots lie on disk, and how they come and go without ever being half there.

Both built-in drivers keep their things alike::

    layers/ID/tree          a committed layer's files
    layers/ID/parent        a symbolic link whose text is the id of the layer below, absent at the bottom
    begun/ID/...            the same, while it is being filled: a crash leaves nothing else of it
    containers/ID/...       a container's writable root; "layer" is a link like "parent"
    making/, trash/         things on their way in and out

Whatever appears under ``layers`` or ``containers`` is renamed there complete, and whatever goes is renamed to
``trash`` before it is taken apart. Links carry the few words that must be known, for a link is written in one go where
a file could be found empty after a loss of power.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from sampan.errors import Conflict, Invalid, NotFound
from sampan.linux.files import sync_directory, sync_filesystem
from sampan.linux.trees import remove_tree
from sampan_storage import quotas

_ID = re.compile(r"[0-9a-f]{64}\Z")


class Shelves:
    """The directories under a driver's data root. Thread-safe for different ids."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._layers = root / "layers"
        self._begun = root / "begun"
        self._containers = root / "containers"
        self._making = root / "making"
        self._trash = root / "trash"
        self._ready = False
        self._parents: dict[str, str | None] = {}  # of committed layers, which never change
        self._lock = threading.Lock()  # a layer does not go while its parent is read, and is remembered no longer

    def prepare(self) -> None:
        if self._ready:
            return
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for shelf in (self._layers, self._begun, self._containers, self._making, self._trash):
            shelf.mkdir(mode=0o711, exist_ok=True)
        self._ready = True

    # ── layers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def layers(self) -> set[str]:
        return _ids(self._layers)

    def layer(self, layer: str) -> Path:
        """The directory of a committed layer; ``NotFound`` if there is none."""
        path = self._layers / checked(layer, "layer")
        if layer not in self._parents and not path.is_dir():
            raise NotFound(f"No such layer: {layer}")
        return path

    def places(self, layer: str) -> tuple[Path, Path]:
        """Where a layer is while it is begun, and when it is committed."""
        return self._begun / checked(layer, "layer"), self._layers / layer

    def parent(self, layer: str) -> str | None:
        """The layer below a committed one."""
        with self._lock:
            if layer not in self._parents:
                self._parents[layer] = _link(self.layer(layer) / "parent")
            return self._parents[layer]

    def chain(self, layer: str | None) -> list[str]:
        """The layer and all those below it, topmost first."""
        found = []
        while layer is not None:
            found.append(layer)
            layer = self.parent(layer)
        return found

    def begin(self, layer: str, parent: str | None) -> Path:
        """A fresh directory in ``begun`` with an empty ``tree``; see ``StorageDriver.begin_layer``."""
        self.prepare()
        if (self._layers / checked(layer, "layer")).is_dir():
            raise Conflict(f"layer {layer} exists already")
        if parent is not None:
            self.layer(parent)
        self._discard(self._begun / layer)
        path = self._begun / layer
        path.mkdir(mode=0o711)
        if parent is not None:
            (path / "parent").symlink_to(parent)
        _make_tree(path / "tree")
        return path

    def place(self, begun: str, layer: str, parent: str | None) -> Path:
        """Where it is now; see ``StorageDriver.place_layer``."""
        source, target = self._begun / checked(begun, "layer"), self._begun / checked(layer, "layer")
        if (self._layers / layer).is_dir():
            raise Conflict(f"layer {layer} exists already")
        if parent is not None:
            self.layer(parent)
        if not source.is_dir():
            raise NotFound(f"layer {begun} was not begun")
        if parent is not None:
            (source / "parent").symlink_to(parent)
        self._discard(target)
        source.rename(target)
        return target

    def commit(self, layer: str) -> None:
        """One syncfs(2) for all the files, then one rename that is itself synced."""
        begun, done = self._begun / checked(layer, "layer"), self._layers / layer
        if done.is_dir():
            return
        try:
            fd = os.open(begun, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"layer {layer} was not begun") from None
        try:
            sync_filesystem(fd)
        finally:
            os.close(fd)
        begun.rename(done)
        sync_directory(self._layers)

    def remove_layer(self, layer: str) -> None:
        """``Conflict`` if something stands on it."""
        path = self._layers / checked(layer, "layer")
        self._discard(self._begun / layer)
        if not path.is_dir():
            return
        for other in self.layers():
            with contextlib.suppress(NotFound):  # it goes at the same time
                if self.parent(other) == layer:
                    raise Conflict(f"layer {layer} is needed by layer {other}")
        for container in self.containers():
            if self.container_layer(container) == layer:
                raise Conflict(f"layer {layer} is needed by container {container}")
        self._forget(layer)

    # ── containers ─────────────────────────────────────────────────────────────────────────────────────────────

    def containers(self) -> set[str]:
        return _ids(self._containers)

    def container(self, container: str) -> Path:
        """A container's directory; ``NotFound`` if there is none."""
        path = self._containers / checked(container, "container")
        if not path.is_dir():
            raise NotFound(f"container {container} has no root file system here")
        return path

    def container_layer(self, container: str) -> str | None:
        return _link(self._containers / container / "layer")

    @contextlib.contextmanager
    def making(self, container: str, layer: str | None, *, durable: bool) -> Iterator[Path]:
        """A directory to fill, which becomes the container's when the block is left without an error."""
        self.prepare()
        target = self._containers / checked(container, "container")
        if target.is_dir():
            raise Conflict(f"container {container} has a root file system already")
        path = self._making / f"{container}.{secrets.token_hex(4)}"
        path.mkdir(mode=0o711)
        try:
            if layer is not None:
                self.layer(layer)
                (path / "layer").symlink_to(layer)
            yield path
            path.rename(target)
        except BaseException:
            self._discard(path)
            raise
        if durable:
            sync_directory(self._containers)

    def remove_container(self, container: str) -> None:
        self._discard(self._containers / checked(container, "container"))

    # ── after a crash ──────────────────────────────────────────────────────────────────────────────────────────

    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        """Keep what is named, and the layers under that; see ``StorageDriver.restore``."""
        if not self.root.is_dir():
            return
        self.prepare()
        for container in self.containers() - set(containers):
            self.remove_container(container)
        self._keep_layers({*layers, *map(self.container_layer, self.containers())})
        for shelf in (self._begun, self._making, self._trash):
            for leftover in shelf.iterdir():
                _remove(leftover)

    def _keep_layers(self, needed: set[str | None]) -> None:
        there = self.layers()
        kept: set[str] = set()
        for layer in needed:
            while layer is not None and layer in there and layer not in kept:
                kept.add(layer)
                layer = self.parent(layer)
        for layer in there - kept:
            self._forget(layer)

    def _forget(self, layer: str) -> None:
        with self._lock:
            self._parents.pop(layer, None)
            gone = self._hide(self._layers / layer)
        if gone:
            _remove(gone)

    def _discard(self, path: Path) -> None:
        """Out of sight at once, then gone."""
        if gone := self._hide(path):
            _remove(gone)

    def _hide(self, path: Path) -> Path | None:
        """Where it is now, if it was there."""
        trash = self._trash / f"{path.name[:16]}.{secrets.token_hex(4)}"
        try:
            return path.rename(trash)
        except FileNotFoundError:
            return None


def checked(ident: str, noun: str) -> str:
    """``Invalid`` unless it is 64 lower-case hex characters: ids become names of directories."""
    if not _ID.match(ident):
        raise Invalid(f"{ident!r} is no {noun} id: 64 hex digits are")
    return ident


def _make_tree(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)  # whatever the umask


def _ids(shelf: Path) -> set[str]:
    try:
        return {name for name in os.listdir(shelf) if _ID.match(name)}  # noqa: PTH208 - names are all we need
    except FileNotFoundError:
        return set()


def _link(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return None


def _remove(path: Path) -> None:
    quotas.forget(path)
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(parent, path.name)
    finally:
        os.close(parent)
