"""``cp``, ``export`` and ``diff``: the files of a container, in and out as tar archives.

Paths are the client's, trees are the container's, and a process in it may swap directories and links while we look:
whatever is read or written is resolved by the kernel inside the container's root (:mod:`sampan.linux.paths`).

Source: the Engine API's ``/containers/{id}/archive``, ``/export`` and ``/changes``, and the docker CLI's ``cp``, which
takes a link's target from us and compares our names with its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from sampan.containers.bundle import users
from sampan.containers.files import committing
from sampan.containers.files.ours import without_ours
from sampan.containers.files.view import View, Views
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.drivers.types import Change
from sampan.errors import Exhausted, Forbidden, Invalid, NotFound, SampanError, Unavailable
from sampan.images import pack
from sampan.images.layer_tree import Around
from sampan.images.unpack_into import unpack_into
from sampan.linux import paths
from sampan.linux.idmaps import IdMap
from sampan.types import Image

_LINKS = 40  # in a row, as many as the kernel follows (path_resolution(7))
_READ = os.O_RDONLY | os.O_DIRECTORY


class PathStat(msgspec.Struct, frozen=True):
    """``mode`` as in stat(2); ``mtime`` in nanoseconds; ``link`` is where a symbolic link leads in the end."""

    name: str
    size: int
    mode: int
    mtime: int
    link: str


class Source:
    """An archive to be: ``write`` it once, in any thread, and ``close`` it in any case."""

    def __init__(self, view: View, write: Callable[[BinaryIO], object], status: PathStat | None = None) -> None:
        self.status = status
        self._view = view
        self._write = write

    def write(self, out: BinaryIO) -> None:
        self._write(out)

    def close(self) -> None:
        self._view.close()


class Archives:
    """Synchronous and thread-safe. Every method raises ``NotFound`` for a container or a path that is not there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.views = Views(parts)

    def status(self, reference: str, path: str) -> PathStat:
        """What is at ``path``; a link itself, unless the path ends with a slash."""
        with self.views.open(self._entry(reference)) as view, _explained(path, reference):
            return _status(view.root, _clean(path))

    def read(self, reference: str, path: str) -> Source:
        """An archive of what is at ``path``: names begin with its last part (``.`` for ``dir/.``)."""
        entry = self._entry(reference)
        view = self.views.open(entry)
        try:
            with _explained(path, reference):
                where = _clean(path)
                status = _status(view.root, where)
        except BaseException:
            view.close()
            raise

        def write(out: BinaryIO) -> None:
            with _explained(path, reference):
                _pack(view, where, out, self._parts.ids, directory=stat.S_ISDIR(status.mode))

        self._parts.announce(entry.record, "archive-path")
        return Source(view, write, status)

    def write(
        self, reference: str, path: str, stream: BinaryIO, *, keep_kinds: bool = False, as_user: bool = False
    ) -> None:
        """Put the files of an archive, compressed or not, into the directory at ``path``.

        ``keep_kinds``: directories are replaced by directories only. ``as_user``: everything belongs to the user that
        the container runs as. ``Invalid``: it is no directory, or the archive is wrong. ``Forbidden``: it is read-only.
        """
        entry = self._entry(reference)
        with self.views.open(entry) as view, _explained(path, reference):
            directory = _open_target(view.root, _clean(path))
            try:
                around = Around(view.root, paths.inside(view.root, directory))
                _check_writable(entry, directory, around.path)
                owner = None
                if as_user and (user := entry.record.config["User"]):
                    found = users.find(view.root, user)
                    owner = (found.uid, found.gid)
                with self._parts.images.plain(stream) as files:
                    unpack_into(files, directory, around, keep_kinds=keep_kinds, owner=owner, ids=self._parts.ids)
            finally:
                os.close(directory)
        self._parts.announce(entry.record, "extract-to-dir")

    def export(self, reference: str) -> Source:
        """An archive of the whole root, without what is mounted on it."""
        entry = self._entry(reference)
        view = self.views.open(entry, bare=True)
        self._parts.announce(entry.record, "export")
        return Source(view, lambda out: pack.pack(view.root, None, out, self._parts.ids))

    def changes(self, reference: str) -> list[Change]:
        """What it changed against its image, sorted by path, without the mount points that we made in it."""
        record = self._entry(reference).record
        return without_ours(self._parts.storage(record).changes(record.root))

    def commit(self, reference: str, **wishes: Any) -> Image:
        """An image of it as it is now; see :func:`sampan.containers.files.committing.commit`."""
        return committing.commit(self._parts, self.views, self._entry(reference), **wishes)

    def _entry(self, reference: str) -> Entry:
        return self._parts.registry.find(reference)


def _clean(path: str) -> bytes:
    """Absolute, without ``..``; a slash or ``/.`` at the end stays, for it asks for a directory."""
    if not path or "\0" in path:
        raise Invalid(f"{path!r} is no path in a container")
    clean = "/" + posixpath.normpath("/" + path).lstrip("/")
    if path.rpartition("/")[2] == "." and clean != "/":
        clean += "/."
    elif path.endswith("/") and clean != "/":
        clean += "/"
    return os.fsencode(clean)


def _status(root: int, path: bytes) -> PathStat:
    flags = os.O_PATH if path.endswith((b"/", b"/.")) else os.O_PATH | os.O_NOFOLLOW
    fd = paths.openat2(root, path, flags)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if path.endswith((b"/", b"/.")) and not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    link = _end_of_links(root, path) if stat.S_ISLNK(status.st_mode) else b""
    name = path.rstrip(b"/").rpartition(b"/")[2] or b"/"
    return PathStat(os.fsdecode(name), status.st_size, status.st_mode, status.st_mtime_ns, os.fsdecode(link))


def _end_of_links(root: int, path: bytes) -> bytes:
    """Where a link leads in the end, as an absolute path in the container, whether something is there or not."""
    for _ in range(_LINKS):
        with contextlib.suppress(FileNotFoundError):
            return _real(root, path)
        above, _, name = path.rpartition(b"/")
        try:
            parent = paths.openat2(root, above, paths.DIRECTORY)
        except FileNotFoundError:
            return path
        try:
            here = b"/" + paths.inside(root, parent)
            path = posixpath.join(here, os.readlink(name, dir_fd=parent))
        except OSError:  # it is no link, or not there
            return posixpath.join(here, name)
        finally:
            os.close(parent)
        path = posixpath.normpath(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _real(root: int, path: bytes) -> bytes:
    fd = paths.openat2(root, path, os.O_PATH)
    try:
        return b"/" + paths.inside(root, fd)
    finally:
        os.close(fd)


def _pack(view: View, path: bytes, out: BinaryIO, ids: IdMap, *, directory: bool) -> None:
    name = path.rstrip(b"/").rpartition(b"/")[2] or b"/"
    if directory:
        fd = paths.openat2(view.root, path, _READ)
        try:
            pack.pack_directory(fd, name, out, view.apart - {os.fstat(fd).st_dev}, ids)
        finally:
            os.close(fd)
        return
    parent, name = paths.open_parent(view.root, path)
    try:
        pack.pack_file(parent, name, out, ids=ids)
    finally:
        os.close(parent)


def _open_target(root: int, path: bytes) -> int:
    try:
        return paths.openat2(root, path, paths.DIRECTORY)
    except NotADirectoryError:
        raise Invalid("extraction point is not a directory") from None


def _check_writable(entry: Entry, directory: int, path: bytes) -> None:
    if not os.fstatvfs(directory).f_flag & os.ST_RDONLY:
        return
    here = "/" + os.fsdecode(path) + "/"
    if any(here.startswith(mount.target.rstrip("/") + "/") for mount in entry.record.mounts):
        raise Forbidden("mounted volume is marked read-only")
    raise Forbidden("container rootfs is marked read-only")


@contextlib.contextmanager
def _explained(path: str, reference: str) -> Iterator[None]:
    """Errors of the kernel as kinds, in Docker's words where it has some."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {path} in container {reference}") from None
    except (BrokenPipeError, ConnectionError):
        raise
    except OSError as error:
        raise _kind(error)(f"{path} in container {reference}: {(error.strerror or str(error)).lower()}") from error


def _kind(error: OSError) -> type[SampanError]:
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EXDEV):
        return Invalid
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return Forbidden
    return Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT) else Unavailable
