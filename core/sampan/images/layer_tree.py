"""The directory that a layer is unpacked into: open descriptors of the directories in it, found safely.

A path's parent is opened once with openat2(2) inside the layer's root and kept for the entries that follow, which
mostly lie beside one another. A symbolic link on the way, made by an earlier entry or an earlier layer, is followed
inside the root, as Docker does; it can lead nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple

from sampan.errors import Invalid
from sampan.images.tar_fields import shown
from sampan.linux.paths import AS_CHROOT, DIRECTORY, NO_LINKS, RESOLVE_NO_XDEV, inside, openat2
from sampan.linux.trees import remove_tree

_OPEN = 128  # descriptors kept
OVERLAY_OPAQUE = b"trusted.overlay.opaque"


def set_opaque(fd: int) -> None:
    """Hide from an overlay what lower layers have in this directory. Needs CAP_SYS_ADMIN."""
    os.setxattr(b"/proc/self/fd/%d/." % fd, OVERLAY_OPAQUE, b"y", follow_symlinks=False)


class Place:
    """An open directory in the tree. ``path`` leads to it from the root without links. ``made`` are the names in it
    that this layer made, None where nobody asks."""

    __slots__ = ("fd", "made", "path", "setgid")

    def __init__(self, fd: int, path: bytes, made: set[bytes] | None) -> None:
        self.fd = fd
        self.path = path
        self.made = made
        self.setgid = bool(os.fstat(fd).st_mode & stat.S_ISGID)  # then what is made in it gets its group

    def attribute_path(self, name: bytes = b".") -> bytes:
        """A path for the calls that take no descriptor of a directory."""
        return b"/proc/self/fd/%d/%s" % (self.fd, name)


class Around(NamedTuple):
    """The root that a directory lies in, and where (no link in ``path``): absolute links count from there."""

    root: int
    path: bytes


class LayerTree:
    """``tracking``: remember what this layer made, so that whiteouts in place can tell it from what was there.

    ``around``: the directory is a part of somebody's root, with mounts in it, and links in it may lead out of it,
    though never out of that root. Without it they lead nowhere else, and no mount is crossed.

    ``owner`` (uid, gid): whose directories are that no entry announced; None: ours. ``opaque``: how the directory of
    a descriptor is made opaque.
    """

    def __init__(
        self,
        root: int,
        *,
        tracking: bool,
        around: Around | None = None,
        owner: tuple[int, int] | None = None,
        opaque: Callable[[int], None] = set_opaque,
    ) -> None:
        self._root = root
        self.make_opaque = opaque
        self._owner = owner
        self._around = around
        self._limits = 0 if around else RESOLVE_NO_XDEV
        self._open: dict[bytes, Place] = {}
        self._stale: list[Place] = []
        self.unsettled = False
        """Is there something for :meth:`settle` to do?"""
        self._made: dict[bytes, set[bytes]] | None = {} if tracking else None

    def __enter__(self) -> LayerTree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._stale)
        self._forget_open()

    def place(self, path: bytes) -> Place:
        """The directory at ``path`` (normal: no ``..``, no slash at the ends), made with its parents if missing.

        Good until :meth:`settle`.
        ``Invalid`` if something on the way is no directory.
        """
        return self._open.get(path) or self._enter(path)

    def existing(self, path: bytes) -> Place | None:
        """The directory at ``path`` if it is there."""
        try:
            return self._open.get(path) or self._keep(path, self._find(path))
        except OSError:
            return None

    def settle(self) -> None:
        """Between entries: close what is not needed any more."""
        if self.unsettled:
            self.unsettled = False
            _close(self._stale)
            self._stale.clear()
            if len(self._open) > _OPEN:
                self._forget_open()

    def open_directory(self, path: bytes) -> int:
        """A descriptor to list the directory at ``path``, no link followed; the caller closes it."""
        return openat2(self._root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=NO_LINKS | RESOLVE_NO_XDEV)

    def below(self, place: Place, name: bytes) -> Place:
        """The directory ``name`` in ``place``."""
        return self.place(place.path + b"/" + name if place.path else name)

    def clear(self, place: Place, name: bytes) -> None:
        """Remove what is at ``name`` in ``place``, with all below it."""
        try:
            os.unlink(name, dir_fd=place.fd)
        except IsADirectoryError:
            remove_tree(place.fd, name)
        if place.made is not None:
            place.made.discard(name)
            self._unmake(place.path + b"/" + name if place.path else name)
        self._stale += [other for other in self._open.values() if other is not place]
        self._open = {path: other for path, other in self._open.items() if other is place}
        self.unsettled = True

    def made_in(self, path: bytes) -> set[bytes]:
        """The names that this layer made in the directory at ``path``."""
        return (self._made or {}).get(path, set())

    def _enter(self, path: bytes) -> Place:
        try:
            fd = self._find(path)
        except (FileNotFoundError, NotADirectoryError):
            fd = self._make(path)
        return self._keep(path, fd)

    def _find(self, path: bytes) -> int:
        try:
            return openat2(self._root, path, DIRECTORY, resolve=NO_LINKS | self._limits)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        if self._around:
            return openat2(self._around.root, self._around.path + b"/" + path, DIRECTORY, resolve=AS_CHROOT)
        return openat2(self._root, path, DIRECTORY, resolve=AS_CHROOT | RESOLVE_NO_XDEV)

    def _keep(self, path: bytes, fd: int) -> Place:
        real = inside(self._root, fd) if self._made is not None else path
        place = self._open[path] = Place(fd, real, self._mark(real))
        self.unsettled = self.unsettled or len(self._open) > _OPEN
        return place

    def _make(self, path: bytes) -> int:
        """Make a directory that no entry announced, and its parents: mode 0755."""
        parent_path, _, name = path.rpartition(b"/")
        missing = [name]
        while True:
            try:
                parent = self._find(parent_path)
                break
            except (FileNotFoundError, NotADirectoryError):
                parent_path, _, name = parent_path.rpartition(b"/")
                missing.append(name)
        while missing:
            name = missing.pop()
            parent_path = parent_path + b"/" + name if parent_path else name
            try:
                hidden = self._make_one(parent, name, parent_path)
                child = os.open(name, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            finally:
                os.close(parent)
            parent = child
            if hidden:
                self.make_opaque(child)
        return parent

    def _make_one(self, parent: int, name: bytes, path: bytes) -> bool:
        """Had an earlier entry hidden what lower layers have of this name?"""
        hidden = False
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            there = os.lstat(name, dir_fd=parent)
            hidden = stat.S_ISCHR(there.st_mode) and there.st_rdev == 0
            if not hidden:
                raise Invalid(f"the archive has entries below {shown(path)}, which is no directory") from None
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o755, dir_fd=parent)
        if self._owner:
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, 0o755, dir_fd=parent)  # noqa: S103 - as the directories of every system are
        return hidden

    def _mark(self, path: bytes) -> set[bytes] | None:
        """The set of names made in ``path``, whose own parents count as made from now on."""
        if self._made is None:
            return None
        here = path
        while here:
            parent, _, name = here.rpartition(b"/")
            names = self._made.setdefault(parent, set())
            if name in names:
                break
            names.add(name)
            here = parent
        return self._made.setdefault(path, set())

    def _unmake(self, path: bytes) -> None:
        pending = [path]
        while pending and self._made is not None:
            here = pending.pop()
            pending += [here + b"/" + name for name in self._made.pop(here, ())]

    def _forget_open(self) -> None:
        _close(self._open.values())
        self._open = {}


def _close(places: Iterable[Place]) -> None:
    for place in places:
        os.close(place.fd)
