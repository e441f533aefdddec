"""The vfs driver: every layer and every container's root is a whole copy. Works on any file system.

Where the file system shares blocks (btrfs, xfs, bcachefs) a copy costs little space and time; elsewhere it costs what
the image is large.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sampan.drivers.storage import StorageDriver
from sampan.drivers.types import Change, Check, Host, StorageFeatures
from sampan.errors import Exhausted, Unavailable
from sampan.linux import mounts
from sampan.linux.files import sync_filesystem
from sampan.linux.trees import copy_tree, disk_usage
from sampan_storage import disks, quotas
from sampan_storage.probing import probe_directory
from sampan_storage.shelves import Shelves
from sampan_storage.tree_changes import tree_changes


class Vfs(StorageDriver):
    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        pass

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._shelves = Shelves(host.data_root)

    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="in-place", quota=True)

    def check(self) -> Check:
        try:
            with probe_directory(self.host.data_root) as probe:
                os.chown(probe, 1, 1)
                os.close(mounts.bind(probe))
        except PermissionError:
            return Check(False, "copying files with their owners and mounting them needs root: run the daemon as root")
        except OSError as error:
            return Check(False, f"nothing can be kept under {self.host.data_root}: {error.strerror}")
        return Check(True)

    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        self._shelves.restore(layers, containers)

    def layers(self) -> set[str]:
        return self._shelves.layers()

    def begin_layer(self, layer: str, parent: str | None) -> Path:
        tree = self._shelves.begin(layer, parent) / "tree"
        if parent is not None:
            _copy(self._shelves.layer(parent) / "tree", tree)
        return tree

    def commit_layer(self, layer: str) -> None:
        self._shelves.commit(layer)

    def remove_layer(self, layer: str) -> None:
        self._shelves.remove_layer(layer)

    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        with self._shelves.making(container, layer, durable=not ephemeral) as path:
            if size is not None:
                quotas.limit(path, size)
            with disks.inside(path) as place:
                tree = place / "tree"
                tree.mkdir()
                tree.chmod(0o755)
                if layer is not None:
                    _copy(self._shelves.layer(layer) / "tree", tree)
            if not ephemeral and disks.present(path):
                disks.sync(path)
            elif not ephemeral:
                with _opened(path) as fd:
                    sync_filesystem(fd)

    def mount(self, container: str) -> int:
        fd = disks.placed(self._shelves.container(container), lambda place: mounts.bind(place / "tree"))
        try:
            mounts.set_attributes(fd, propagation=mounts.MS_PRIVATE)
        except OSError:
            os.close(fd)
            raise
        return fd

    def remove(self, container: str) -> None:
        self._shelves.remove_container(container)

    def changes(self, container: str) -> Iterator[Change]:
        path = self._shelves.container(container)
        layer = self._shelves.container_layer(container)
        with disks.inside(path) as place, _opened(place / "tree") as new:
            if layer is None:
                return tree_changes(new, None)
            with _opened(self._shelves.layer(layer) / "tree") as old:
                return tree_changes(new, old)

    def usage(self, container: str) -> int:
        with disks.inside(self._shelves.container(container)) as place, _opened(place / "tree") as tree:
            return disk_usage(tree)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _copy(source: Path, target: Path) -> None:
    with _opened(source) as reading, _opened(target) as writing:
        try:
            copy_tree(reading, writing)
        except OSError as error:
            kind = Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT) else Unavailable
            raise kind(f"the layer below could not be copied: {(error.strerror or str(error)).lower()}") from error
