"""The overlayfs driver: layers are directories that the kernel stacks; a container's own is the topmost.

Nothing is copied until it is written to, and all containers of an image share its files in the page cache. For the
kernel's side see filesystems/overlayfs.rst of the Linux documentation.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from sampan.drivers.steps import step
from sampan.drivers.storage import StorageDriver
from sampan.drivers.types import Change, Check, Host, StorageFeatures
from sampan.errors import Unavailable
from sampan.linux import mounts
from sampan.linux.files import filesystem_magic
from sampan.linux.trees import disk_usage, remove_tree
from sampan_storage import disks, quotas
from sampan_storage.overlay_changes import OPAQUE, overlay_changes
from sampan_storage.probing import probe_directory
from sampan_storage.shelves import Shelves

_OVERLAYFS_MAGIC = 0x794C7630
_OPTIONS: dict[str, str | None] = {
    # All off, whatever the kernel was built with: they make layers that cannot be read, copied or stacked as plain
    # directories, and following marks of theirs in a foreign layer would lead out of it.
    "index": "off",
    "metacopy": "off",
    "redirect_dir": "nofollow",
}


class Overlayfs(StorageDriver):
    """Beside what :class:`Shelves` keeps: ``l/SHORT``, links to the layers' trees, for older kernels take the names
    of all layers in one page of text; ``layers/ID/short`` is the name there."""

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        pass

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._shelves = Shelves(host.data_root)
        self._short = host.data_root / "l"
        self._lock = threading.Lock()
        self._lowers: dict[str, list[Path]] = {}
        self._mounted: dict[str, int] = {}

    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="overlay", places=True, quota=True, shares_page_cache=True)

    def check(self) -> Check:
        try:
            with probe_directory(self.host.data_root) as probe:
                return _try_overlay(probe)
        except OSError as error:
            return Check(False, f"nothing can be written under {self.host.data_root}: {error.strerror}")

    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        self._shelves.restore(layers, containers)
        if self._short.is_dir():
            for link in self._short.iterdir():
                if not link.exists():
                    link.unlink()

    # ── layers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def layers(self) -> set[str]:
        return self._shelves.layers()

    def begin_layer(self, layer: str, parent: str | None) -> Path:
        before = self._short_names(layer)
        begun = self._shelves.begin(layer, parent)
        self._unlink(before)
        self._name_shortly(begun)
        return begun / "tree"

    def place_layer(self, begun: str, layer: str, parent: str | None) -> None:
        before = self._short_names(begun) + self._short_names(layer)
        placed = self._shelves.place(begun, layer, parent)
        (placed / "short").unlink()
        self._name_shortly(placed)
        self._unlink(before)

    def _name_shortly(self, begun: Path) -> None:
        self._short.mkdir(mode=0o711, exist_ok=True)
        short = secrets.token_hex(4)
        (self._short / short).symlink_to(f"../layers/{begun.name}/tree")
        (begun / "short").symlink_to(short)

    def commit_layer(self, layer: str) -> None:
        self._shelves.commit(layer)

    def remove_layer(self, layer: str) -> None:
        before = self._short_names(layer)
        self._shelves.remove_layer(layer)
        self._lowers.pop(layer, None)
        self._unlink(before)

    def _short_names(self, layer: str) -> list[Path]:
        """Of what is begun or committed under that id."""
        found = []
        for place in self._shelves.places(layer):
            with contextlib.suppress(FileNotFoundError):
                found.append((place / "short").readlink())
        return found

    def _unlink(self, names: list[Path]) -> None:
        for name in names:
            (self._short / name).unlink(missing_ok=True)

    def _stack(self, layer: str | None) -> list[Path]:
        """The directories to stack below a container, topmost first."""
        if layer is None:
            return [self._empty()]
        if layer not in self._lowers:
            stack = []
            for ident in self._shelves.chain(layer):
                path = self._shelves.layer(ident)
                stack.append(self._short / (path / "short").readlink())
                if _is_opaque(path / "tree"):
                    break  # the kernel does not look for the mark at the root, and everything below is hidden
            self._lowers[layer] = stack
        return self._lowers[layer]

    def _empty(self) -> Path:
        empty = self.host.data_root / "empty"
        empty.mkdir(mode=0o755, exist_ok=True)
        return empty

    # ── containers ─────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        with self._shelves.making(container, layer, durable=not ephemeral) as path:
            if size is not None:
                quotas.limit(path, size)
            with disks.inside(path) as place:
                (place / "work").mkdir(mode=0o700)
                _make_upper(place / "upper", None if layer is None else self._shelves.layer(layer) / "tree")
            if ephemeral:
                (path / "ephemeral").symlink_to("yes")
            elif disks.present(path):
                disks.sync(path)

    def mount(self, container: str) -> int:
        """While an earlier mount may live, the new descriptor is a clone of it: the kernel does not define what two
        overlays on one upper directory do."""
        path = self._shelves.container(container)
        with self._lock:
            known = self._mounted.pop(container, None)
            if known is None:
                known = self._mount(path, self._shelves.container_layer(container))
            self._mounted[container], copy = mounts.copies(known)
            return copy

    def _mount(self, path: Path, layer: str | None) -> int:
        options = dict(_OPTIONS)
        stack = self._stack(layer)
        ephemeral = (path / "ephemeral").is_symlink()
        if ephemeral:
            options["volatile"] = None

        def mount(place: Path) -> int:
            if ephemeral:
                _forget_volatile(place / "work")
            return mounts.overlay(stack, place / "upper", place / "work", options)

        try:
            with step("stack the layers", "overlay", f"{path / 'upper'} on {len(stack)} below"):
                return disks.placed(path, mount)
        except OSError as error:
            raise Unavailable(
                f"the {len(stack)} layers of container {path.name[:12]} cannot be mounted: {error.strerror}"
            ) from error

    def unmount(self, container: str) -> None:
        with self._lock:
            fd = self._mounted.pop(container, None)
        if fd is not None:
            os.close(fd)

    def remove(self, container: str) -> None:
        self.unmount(container)
        self._shelves.remove_container(container)

    def changes(self, container: str) -> Iterator[Change]:
        path = self._shelves.container(container)
        stack = self._stack(self._shelves.container_layer(container))
        lower = mounts.overlay(stack, options=_OPTIONS) if len(stack) > 1 else _open_directory(stack[0])
        try:
            with disks.inside(path) as place:
                upper = _open_directory(place / "upper")
            try:
                return overlay_changes(upper, lower)
            finally:
                os.close(upper)
        finally:
            os.close(lower)

    def describe(self, container: str) -> Mapping[str, str]:
        """With Docker's keys for overlay2. A root is mounted nowhere, so there is no ``MergedDir``; the upper directory
        of a root that is limited in size is on a disk of its own."""
        path = self._shelves.container(container)
        stack = self._stack(self._shelves.container_layer(container))
        told = {"LowerDir": ":".join(str(each.resolve()) for each in stack)}
        if not disks.present(path):
            told |= {"UpperDir": str(path / "upper"), "WorkDir": str(path / "work")}
        return told

    def usage(self, container: str) -> int:
        with disks.inside(self._shelves.container(container)) as place:
            upper = _open_directory(place / "upper")
        try:
            return disk_usage(upper)
        finally:
            os.close(upper)


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _is_opaque(tree: Path) -> bool:
    try:
        return os.getxattr(tree, OPAQUE) == b"y"
    except OSError:
        return False


def _make_upper(path: Path, below: Path | None) -> None:
    """The upper directory shows as the container's ``/``, so it takes over what the image's ``/`` is."""
    path.mkdir()
    status = None if below is None else below.stat()
    if status is not None:
        os.chown(path, status.st_uid, status.st_gid)
    path.chmod(0o755 if status is None else stat.S_IMODE(status.st_mode))


def _forget_volatile(work: Path) -> None:
    """The kernel leaves a mark that refuses a second mount, since the first may have lost what was not written back.
    Here the machine is still up, so nothing is lost; after a restart of it, an ephemeral root is not used again."""
    fd = _open_directory(work)
    try:
        with contextlib.suppress(FileNotFoundError):
            inner = os.open("work/incompat", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            try:
                remove_tree(inner, "volatile")
            finally:
                os.close(inner)
    finally:
        os.close(fd)


def _try_overlay(probe: Path) -> Check:
    for name in ("lower", "lower2", "upper", "work"):
        (probe / name).mkdir()
    (probe / "lower" / "file").touch()
    try:
        options = _OPTIONS | {"volatile": None}
        fd = mounts.overlay([probe / "lower", probe / "lower2"], probe / "upper", probe / "work", options)
    except OSError as error:
        return Check(False, _why_not(probe, error))
    try:
        os.unlink("file", dir_fd=fd)  # needs a whiteout, and so the trusted attributes and device nodes
    except OSError as error:
        return Check(False, f"the file system of {probe.parent} cannot hold overlayfs's marks: {error.strerror}")
    finally:
        os.close(fd)
    return Check(True)


def _why_not(probe: Path, error: OSError) -> str:
    place = probe.parent
    if os.geteuid() != 0:
        return "mounting overlayfs needs root: run the daemon as root"
    if filesystem_magic(probe) == _OVERLAYFS_MAGIC:
        return f"{place} is itself on overlayfs, which cannot be stacked: use the vfs driver or another data root"
    with contextlib.suppress(OSError):
        if "\toverlay\n" not in Path("/proc/filesystems").read_text():
            return "this kernel has no overlayfs: load its module with modprobe overlay, or use the vfs driver"
    return f"overlayfs cannot be mounted on {place} ({error.strerror}): use the vfs driver or another data root"
