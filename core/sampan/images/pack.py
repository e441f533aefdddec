"""Making a layer of what a container changed, or an archive of all that it has.

The result is the same for the same tree: entries sorted by name, times in whole seconds, no names of users. What was
deleted becomes a whiteout (OCI image specification, layer.md). The tree may change while it is read and may belong
to somebody hostile: nothing is opened through a link, and an entry is as long as its header says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping

from sampan.drivers.types import Change, ChangeKind
from sampan.images import ownership
from sampan.images import tar_reader as tar
from sampan.images.tar_writer import Sink, TarWriter
from sampan.images.whiteouts import WHITEOUT
from sampan.linux.idmaps import SAME, IdMap
from sampan.linux.paths import DIRECTORY, NO_LINKS, openat2
from sampan.linux.trees import walk

_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_XATTRS = ("user.", "security.capability", "system.posix_acl_access")


def pack(root_fd: int, changes: Iterable[Change] | None, out: Sink, ids: IdMap = SAME) -> int:
    """Write an uncompressed tar of ``changes`` below the directory ``root_fd``; of everything if it is None. Returns
    the bytes of the files in it.

    Directories that lead to a change are in it too, with their attributes. Sockets are left out, as in every tar;
    what vanished since ``changes`` was made is left out as well. ``ids``: what owners in the archive are on disk.
    """
    packer = _Packer(root_fd, out, ids=ids)
    packer.run(_everything(root_fd) if changes is None else _wanted(changes))
    return packer.size


def pack_directory(directory: int, name: bytes, out: Sink, apart: Collection[int] = (), ids: IdMap = SAME) -> None:
    """Write an uncompressed tar of a directory and all in it, mounts included, under ``name`` (``.`` and ``/`` will
    do). Of what lies on the devices ``apart`` (``st_dev``) only the directories that it is mounted on."""
    packer = _Packer(directory, out, name.rstrip(b"/") + b"/", ids)
    packer.begin(os.fstat(directory))
    packer.run(_everything(directory, apart))


def pack_file(directory: int, name: bytes, out: Sink, shown: bytes | None = None, ids: IdMap = SAME) -> None:
    """Write an uncompressed tar of ``name`` in ``directory``, which is no directory itself; ``shown``: its new name."""
    packer = _Packer(directory, out, ids=ids)
    packer.add(directory, shown or name, name)
    packer.end()


def _everything(root: int, apart: Collection[int] = ()) -> Iterable[tuple[bytes, bool]]:
    return sorted((path + b"/" + name if path else name, False) for _, path, name, _ in walk(root, apart))


def _wanted(changes: Iterable[Change]) -> list[tuple[bytes, bool]]:
    """(path, deleted), sorted, completed with the parents."""
    wanted: dict[bytes, bool] = {}
    for change in changes:
        path = os.fsencode(change.path).strip(b"/")
        wanted[path] = change.kind is ChangeKind.DELETED
        while (path := path.rpartition(b"/")[0]) and path not in wanted:
            wanted[path] = False
    wanted.pop(b"", None)
    return sorted(wanted.items())


class _Packer:
    """``prefix``: goes before every name, ends with a slash."""

    def __init__(self, root: int, out: Sink, prefix: bytes = b"", ids: IdMap = SAME) -> None:
        self._root = root
        self._ids = ids
        self._prefix = prefix
        self._out = _Gathered(out)
        self._tar = TarWriter(self._out)
        self._links: dict[tuple[int, int], bytes] = {}
        self.size = 0  # bytes of files so far

    def begin(self, status: os.stat_result) -> None:
        """An entry for the root itself."""
        self._plain(b"", tar.DIRECTORY, status, _xattrs(b"/proc/self/fd/%d/." % self._root))

    def run(self, wanted: Iterable[tuple[bytes, bool]]) -> None:
        for parent, names in _by_directory(wanted):
            try:
                directory = openat2(self._root, parent, DIRECTORY, resolve=NO_LINKS)
            except OSError:
                continue  # vanished, or no directory any more
            try:
                harmless = bool(os.fstatvfs(directory).f_flag & os.ST_NODEV)
                for path, deleted in names:
                    name = path.rpartition(b"/")[2]
                    if deleted or not harmless or not self._opened(directory, path, name):
                        self.add(directory, path, name, deleted)
            finally:
                os.close(directory)
        self.end()

    def end(self) -> None:
        self._tar.end()
        self._out.flush()

    def add(self, directory: int, path: bytes, name: bytes, deleted: bool = False) -> None:
        """An entry ``path`` for ``name`` in ``directory``; ``deleted``: one that hides it."""
        if deleted:
            parent = path[: len(path) - len(name)]
            self._tar.header(self._prefix + parent + WHITEOUT + name, tar.FILE)
            return
        try:
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return  # vanished
        try:
            status = os.fstat(found)
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFREG:
                self._found(found, path, status)
            elif kind == stat.S_IFDIR:
                self._plain(path + b"/", tar.DIRECTORY, status, _xattrs(b"/proc/self/fd/%d/%s" % (directory, name)))
            elif kind != stat.S_IFSOCK and not self._linked(path, status):
                self._special(directory, path, name, status)
        finally:
            os.close(found)

    def _opened(self, directory: int, path: bytes, name: bytes) -> bool:
        """Was it a regular file, and is it written? For a mount on which opening a device does nothing: then nearly
        everything can be opened to see what it is."""
        try:
            fd = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=directory)
        except OSError:
            return False
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return False
            self._file(fd, path, status)
            return True
        finally:
            os.close(fd)

    def _found(self, found: int, path: bytes, status: os.stat_result) -> None:
        """A regular file, which is opened once it is known to be one: opening a device may do something."""
        try:
            fd = os.open(b"/proc/self/fd/%d" % found, _READ)
        except OSError:
            return
        try:
            self._file(fd, path, status)
        finally:
            os.close(fd)

    def _file(self, fd: int, path: bytes, status: os.stat_result) -> None:
        if not self._linked(path, status):
            self._plain(path, tar.FILE, status, _xattrs(fd), size=status.st_size)
            self._content(fd, status.st_size)

    def _content(self, fd: int, size: int) -> None:
        """Exactly ``size`` bytes: a file that shrinks meanwhile is filled up with zeros."""
        self.size += size
        left = size
        while left:
            data = os.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
            self._out.write(data)
            left -= len(data)
        self._tar.pad(size)

    def _special(self, directory: int, path: bytes, name: bytes, status: os.stat_result) -> None:
        xattrs = _xattrs(b"/proc/self/fd/%d/%s" % (directory, name))
        if stat.S_ISLNK(status.st_mode):
            self._plain(path, tar.SYMLINK, status, xattrs, link=os.readlink(name, dir_fd=directory))
        elif stat.S_ISFIFO(status.st_mode):
            self._plain(path, tar.FIFO, status, xattrs)
        else:
            kind = tar.CHARACTER if stat.S_ISCHR(status.st_mode) else tar.BLOCK_DEVICE
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            self._plain(path, kind, status, xattrs, device=device)

    def _linked(self, path: bytes, status: os.stat_result) -> bool:
        """Written as a hard link to an earlier entry?"""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        self._plain(path, tar.LINK, status, {}, link=self._prefix + first)
        return True

    def _plain(
        self,
        name: bytes,
        kind: bytes,
        status: os.stat_result,
        xattrs: Mapping[str, bytes],
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
    ) -> None:
        uid, gid = self._ids.from_host(status.st_uid, status.st_gid)
        self._tar.header(
            self._prefix + name,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=uid,
            gid=gid,
            size=size,
            mtime=status.st_mtime_ns // 1_000_000_000,
            link=link,
            device=device,
            xattrs=xattrs and {key: ownership.from_disk(key, value, self._ids) for key, value in xattrs.items()},
        )


class _Gathered:
    """Writes large pieces: small ones take longer to be passed on than to be made."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            self._out.write(b"".join(self._pieces))
            self._pieces, self._size = [], 0


def _by_directory(wanted: Iterable[tuple[bytes, bool]]) -> Iterator[tuple[bytes, list[tuple[bytes, bool]]]]:
    """Neighbours in the order that lie in one directory."""
    current: list[tuple[bytes, bool]] = []
    parent = b""
    for path, deleted in wanted:
        here = path.rpartition(b"/")[0]
        if current and here != parent:
            yield parent, current
            current = []
        parent = here
        current.append((path, deleted))
    if current:
        yield parent, current


def _xattrs(where: bytes | int) -> dict[str, bytes]:
    """The attributes that an image keeps (see :mod:`sampan.images.unpack`)."""
    follow = isinstance(where, int)
    try:
        names = os.listxattr(where, follow_symlinks=follow)
        if not names:
            return {}
        kept = [
            name
            for name in names
            if name.startswith(_XATTRS) and not name.startswith("user.overlay.") and "=" not in name
        ]
        return {name: os.getxattr(where, name, follow_symlinks=follow) for name in kept}
    except OSError:
        return {}
