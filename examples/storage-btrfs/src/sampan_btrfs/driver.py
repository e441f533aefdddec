"""The btrfs storage driver: a layer is a subvolume, begun as a snapshot of its parent, and a container's root, too."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from sampan.drivers import StorageDriver
from sampan.drivers.types import Change, ChangeKind, Check, Host, StorageFeatures
from sampan.errors import Conflict, Exhausted, Invalid, NotFound, Unsupported
from sampan.linux import loops
from sampan_btrfs import subvolumes
from sampan_btrfs.changes import changes
from sampan_btrfs.pool import Pool, maker

_ID = re.compile(r"[0-9a-f]{64}")


class Btrfs(StorageDriver):
    contract = 1

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        """``gib``: what the file can grow to, in GiB; it takes no more than what is in it."""

        gib: Annotated[int, msgspec.Meta(ge=1, le=1 << 14)] = 16

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._pool = Pool(host.data_root, getattr(options, "gib", 16))

    def check(self) -> Check:
        if os.geteuid():
            return Check(False, "mounting needs root: run the daemon as root")
        if "btrfs" not in Path("/proc/filesystems").read_text().split():
            return Check(False, "this kernel has no btrfs: try modprobe btrfs")
        if maker() is None:
            return Check(False, "there is no mkfs.btrfs: install btrfs-progs")
        if not loops.available():
            return Check(False, "there are no loop devices: try modprobe loop")
        return Check(True)

    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="in-place")

    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        if not self._pool.exists:
            return
        for shelf, kept in (("containers", containers), ("layers", layers), ("begun", ())):
            for name in self._pool.names(shelf) - set(kept):
                subvolumes.remove(self._pool.path(shelf, name))
        there = self._pool.names("layers") | self._pool.names("containers")
        for name in self._pool.names("parents") - there:
            self._pool.path("parents", name).unlink()

    # ── layers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def layers(self) -> set[str]:
        return self._pool.names("layers") if self._pool.exists else set()

    def begin_layer(self, layer: str, parent: str | None) -> Path:
        if self._has("layers", layer):
            raise Conflict(f"layer {layer} exists already")
        below = None if parent is None else self._layer(parent)
        begun = self._pool.path("begun", layer)
        subvolumes.remove(begun)
        self._make(begun, below)
        self._stand(layer, parent)
        return begun

    def commit_layer(self, layer: str) -> None:
        if self._has("layers", layer):
            return
        if not self._has("begun", layer):
            raise NotFound(f"layer {layer} was not begun")
        self._pool.sync()
        self._pool.path("begun", layer).rename(self._pool.path("layers", layer))
        self._pool.sync()

    def remove_layer(self, layer: str) -> None:
        if not (self._has("layers", layer) or self._has("begun", layer)):
            return
        for link in self._pool.path("parents").iterdir():
            if _parent(link) == layer and (self._has("layers", link.name) or self._has("containers", link.name)):
                raise Conflict(f"layer {layer} is needed by {link.name}")
        for shelf in ("layers", "begun"):
            subvolumes.remove(self._pool.path(shelf, layer))
        self._pool.path("parents", layer).unlink(missing_ok=True)

    # ── a container's writable root ──────────────────────────────────────────────────────────────────────────────

    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        if size is not None:
            raise Unsupported("the btrfs driver does not limit containers one by one: its option gib limits all")
        if self._has("containers", container):
            raise Conflict(f"container {container} has a root file system already")
        below = None if layer is None else self._layer(layer)
        self._stand(container, layer)
        self._make(self._pool.path("containers", container), below)
        if not ephemeral:
            self._pool.sync()

    def mount(self, container: str) -> int:
        self._container(container)
        return self._pool.mount(f"/containers/{container}")

    def remove(self, container: str) -> None:
        if self._has("containers", container):
            subvolumes.remove(self._pool.path("containers", container))
            self._pool.path("parents", container).unlink(missing_ok=True)

    def changes(self, container: str) -> Iterator[Change]:
        return iter(sorted(change for change, _ in self._changes(container)))

    def usage(self, container: str) -> int:
        kept = [status for change, status in self._changes(container) if change.kind != ChangeKind.DELETED]
        return sum({status.st_ino: status.st_blocks * 512 for status in kept}.values())

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _changes(self, container: str) -> list[tuple[Change, os.stat_result]]:
        root = self._container(container)
        link = self._pool.path("parents", container)
        with subvolumes.opened(root) as new:
            if not link.is_symlink():
                return list(changes(new, None))
            with subvolumes.opened(self._layer(str(link.readlink()))) as old:
                return list(changes(new, old))

    def _make(self, path: Path, source: Path | None) -> None:
        try:
            if source is None:
                subvolumes.create(path)
            else:
                subvolumes.snapshot(source, path)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise Exhausted("the btrfs driver's file is full: give it more with its option gib") from error

    def _stand(self, name: str, layer: str | None) -> None:
        """Write down what it stands on, in a link, which is there whole or not at all."""
        link = self._pool.path("parents", name)
        link.unlink(missing_ok=True)
        if layer is not None:
            link.symlink_to(layer)

    def _has(self, shelf: str, name: str) -> bool:
        if not _ID.fullmatch(name):
            raise Invalid(f"{name!r} is no id: 64 hex digits are")
        return self._pool.exists and self._pool.path(shelf, name).is_dir()

    def _layer(self, layer: str) -> Path:
        if not self._has("layers", layer):
            raise NotFound(f"No such layer: {layer}")
        return self._pool.path("layers", layer)

    def _container(self, container: str) -> Path:
        if not self._has("containers", container):
            raise NotFound(f"container {container} has no root file system here")
        return self._pool.path("containers", container)


def _parent(link: Path) -> str:
    """The layer that it names; ``""`` if it has just been removed by somebody else."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""
