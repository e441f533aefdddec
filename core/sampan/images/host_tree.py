"""Files of this host, gathered for an image: each with the directories and symbolic links that lead to it."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sampan.errors import Invalid, NotFound, Unavailable

LINKS_IN_A_ROW = 40  # as many as the kernel follows
CAPABILITY = "security.capability"


class _Made(NamedTuple):
    """An entry that does not come from the host."""

    kind: bytes
    mode: int
    data: bytes = b""
    target: str = ""


class HostTree:
    """Paths are absolute and as on the host, so a merged ``/usr`` stays merged."""

    def __init__(self) -> None:
        self._host: dict[str, os.stat_result] = {}
        self._made: dict[str, _Made] = {}

    def add(self, path: str) -> str:
        """Take a file or directory (without what is in it) and every link on the way; returns its real path.

        ``NotFound`` if it does not exist, ``Invalid`` if it is a device, a socket or a pipe.
        """
        waiting = [part for part in path.split("/") if part not in ("", ".")]
        here, links = "", 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                here = posixpath.dirname(here).rstrip("/")
                continue
            here = f"{here}/{part}"
            status = self._status(here, path)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > LINKS_IN_A_ROW:
                    raise Invalid(f"{path} has too many symbolic links")
                target = str(Path(here).readlink())
                waiting = [each for each in target.split("/") if each not in ("", ".")] + waiting
                here = "" if target.startswith("/") else posixpath.dirname(here).rstrip("/")
        return here or "/"

    def add_all(self, paths: Iterable[str]) -> None:
        """Those that exist."""
        for path in paths:
            with suppress(NotFound):
                self.add(path)

    def directory(self, path: str, mode: int = 0o755) -> None:
        """An empty directory, owned by root, unless the host's is taken already."""
        self._made[path] = _Made(tarfile.DIRTYPE, mode)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._made[path] = _Made(tarfile.REGTYPE, mode, data)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._made[path] = _Made(tarfile.SYMTYPE, 0o777, target=target)

    def __contains__(self, path: str) -> bool:
        return path in self._host or path in self._made

    def newest(self) -> int:
        """When the youngest of the host's files was last changed, in whole seconds."""
        return max((int(each.st_mtime) for each in self._host.values() if stat.S_ISREG(each.st_mode)), default=0)

    def write(self, out: BinaryIO) -> None:
        """A tar that depends on nothing but the files: sorted, names of owners left out, directories and what is not
        the host's dated like the newest file."""
        newest = self.newest()
        inodes: dict[tuple[int, int], str] = {}
        with tarfile.open(fileobj=out, mode="w|", bufsize=1 << 20, format=tarfile.PAX_FORMAT) as tar:
            for path in sorted({*self._host, *self._made}):
                if path in self._host:
                    _write_host(tar, path, self._host[path], newest, inodes)
                else:
                    _write_made(tar, path, self._made[path], newest)

    def _status(self, here: str, wanted: str) -> os.stat_result:
        if here not in self._host:
            try:
                status = os.lstat(here)
            except (FileNotFoundError, NotADirectoryError):
                raise NotFound(f"this host has no {wanted}") from None
            mode = status.st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise Invalid(f"{here} is neither a file nor a directory, so it cannot be put into an image")
            self._host[here] = status
        return self._host[here]


def _write_host(
    tar: tarfile.TarFile, path: str, status: os.stat_result, newest: int, inodes: dict[tuple[int, int], str]
) -> None:
    entry = _entry(path, tarfile.DIRTYPE, stat.S_IMODE(status.st_mode), newest)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        tar.addfile(entry)
        return
    entry.mtime = int(status.st_mtime)
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, str(Path(path).readlink())
        tar.addfile(entry)
        return
    first = inodes.setdefault((status.st_dev, status.st_ino), path)
    if first != path:
        entry.type, entry.linkname = tarfile.LNKTYPE, first.lstrip("/")
        tar.addfile(entry)
        return
    entry.type = tarfile.REGTYPE
    _write_content(tar, path, entry)


def _write_content(tar: tarfile.TarFile, path: str, entry: tarfile.TarInfo) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as content:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unavailable(f"{path} changed while it was read: try again")
        with suppress(OSError):
            entry.pax_headers = {f"SCHILY.xattr.{CAPABILITY}": os.fsdecode(os.getxattr(descriptor, CAPABILITY))}
        entry.size = status.st_size
        try:
            tar.addfile(entry, content)
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error}") from None


def _write_made(tar: tarfile.TarFile, path: str, made: _Made, newest: int) -> None:
    entry = _entry(path, made.kind, made.mode, newest)
    entry.linkname, entry.size = made.target, len(made.data)
    tar.addfile(entry, io.BytesIO(made.data))


def _entry(path: str, kind: bytes, mode: int, when: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode, entry.mtime = kind, mode, when
    return entry
