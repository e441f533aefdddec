"""Filling a layer's directory from a tar stream, when nothing in the stream can be trusted.

How the directory stays the limit: every entry is made by a call that takes a descriptor of its parent directory and a
single name without following links, and the parent's descriptor comes from openat2(2) inside the layer's directory
(:mod:`sampan.images.layer_tree`). Symbolic links are made as they are, wherever they point, and mean nothing to us.

What an entry means follows the OCI image specification (layer.md) and, where that is silent, Docker: absolute names
count from the layer's root, names that climb above it are refused, the last of two entries of one name wins,
directories merge, device nodes are content.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from sampan.errors import Conflict, Exhausted, Forbidden, Invalid, SampanError, Unavailable
from sampan.images import ownership
from sampan.images import tar_reader as tar
from sampan.images.confined.limits import Limits
from sampan.images.filling import LARGEST as LARGEST_HANDED
from sampan.images.filling import FillError, Hand, Piece
from sampan.images.layer_tree import LayerTree, Place, set_opaque
from sampan.images.tar_fields import LARGEST, shown
from sampan.images.tar_reader import Entry, TarReader
from sampan.images.whiteouts import OPAQUE, WHITEOUT, Whiteouts
from sampan.linux.idmaps import SAME, IdMap

log = logging.getLogger(__name__)

UNLIMITED = Limits(size=LARGEST, entries=10_000_000)
LONGEST_NAME = 4095  # PATH_MAX without its null
_LONGEST_TIME = 1 << 34  # seconds; ext4 ends there, in 2514
_DOT = ord(".")
_XATTRS = (b"user.", b"security.capability", b"system.posix_acl_access")

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(
    stream: BinaryIO,
    directory: Path,
    whiteouts: Literal["in-place", "overlay"],
    *,
    limits: Limits = UNLIMITED,
    ids: IdMap = SAME,
) -> int:
    """Apply a layer's uncompressed tar stream to ``directory``; returns the bytes of the files that it holds.

    ``whiteouts`` is what the storage driver asks for (``StorageFeatures``). The stream is read to its very end.
    ``ids``: what the owners in the archive are on disk; directories that no entry announces are root's.

    ``Invalid`` names the entry that is hostile or damaged, or says which limit was passed; ``Exhausted`` if space ran
    out; ``Forbidden`` if the kernel refuses (not root). Whatever is raised, what was unpacked so far stays: the
    caller throws the layer away.
    """
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return unpack_at(stream, root, whiteouts, limits=limits, ids=ids)
    finally:
        os.close(root)


def unpack_at(
    stream: BinaryIO,
    root: int,
    whiteouts: Literal["in-place", "overlay"],
    *,
    limits: Limits = UNLIMITED,
    ids: IdMap = SAME,
    opaque: Callable[[int], None] = set_opaque,
    hand: Hand | None = None,
) -> int:
    """The same for the descriptor of a directory; ``opaque``: how one is marked that hides what is below it; ``hand``:
    who helps, if the stream is a blob from its first byte on."""
    owner = ids.root if ids else None
    with LayerTree(root, tracking=whiteouts == "in-place", owner=owner, opaque=opaque) as tree:
        return Unpacker(TarReader(stream), tree, Whiteouts(tree, overlay=whiteouts == "overlay"), ids, hand).run(limits)


class Unpacker:
    """Makes the entries of one archive in one tree. ``marks``: names can be whiteouts."""

    marks = True

    def __init__(
        self, reader: TarReader, tree: LayerTree, whiteouts: Whiteouts, ids: IdMap = SAME, hand: Hand | None = None
    ) -> None:
        self._reader = reader
        self._hand = hand
        self._tree = tree
        self._whiteouts = whiteouts
        self._ids = ids
        self._gives = bool(ids)
        self._owner = (os.geteuid(), os.getegid())
        self._masked = 0o7000 | _umask()
        self._times: dict[bytes, int] = {}  # of directories, set last
        self._beside: bytes | None = None  # the directory of the last file, as the archive names it
        self._place: Place
        self._without_xattrs: set[bytes] = set()
        self._special: dict[bytes, Callable[[Entry, Place, bytes], None]] = {
            tar.SYMLINK: self._symlink,
            tar.CHARACTER: self._device,
            tar.BLOCK_DEVICE: self._device,
            tar.FIFO: self._fifo,
        }

    def run(self, limits: Limits = UNLIMITED) -> int:
        total = 0
        for count, entry in enumerate(self._reader, 1):
            total += entry.size
            if count > limits.entries:
                limits.check_entries(count)
            if total > limits.size:
                limits.check_size(total)
            if self._tree.unsettled:
                self._tree.settle()
                self._beside = None
            if self._gives:
                self._give(entry)
            try:
                self._apply(entry)
            except OSError as error:
                raise _explained(entry.name, error) from error
            except FillError as failure:
                raise _explained(failure.name, failure.error) from failure
        self._finish_directories()
        self._reader.drain()
        self._finish_files()
        return total

    def _finish_files(self) -> None:
        try:
            if self._hand:
                self._hand.finish()
        except FillError as failure:
            raise _explained(failure.name, failure.error) from failure

    def _apply(self, entry: Entry) -> None:
        directory, _, last = entry.name.rpartition(b"/")
        if directory == self._beside and entry.kind == tar.FILE and last and last[0] != _DOT:  # as most are
            self._file(entry, self._place, last)
            return
        path = normal(entry.name)
        if not path:
            self._root(entry)
            return
        parent, _, name = path.rpartition(b"/")
        if name.startswith(WHITEOUT) and self.marks:
            self._whiteout(entry, parent, name)
            return
        place = self._tree.place(parent)
        if entry.kind == tar.FILE:
            if name == last:
                self._beside, self._place = directory, place
            self._file(entry, place, name)
            return
        if entry.kind == tar.DIRECTORY:
            self._directory(entry, place, name, path)
        elif entry.kind == tar.LINK:
            self._link(entry, place, name)
        else:
            self._replacing(place, name, lambda: self._special[entry.kind](entry, place, name))
            self._attributes(entry, place, name)
        if place.made is not None:
            place.made.add(name)

    def _give(self, entry: Entry) -> None:
        """Its owner becomes what that is on disk."""
        try:
            ownership.to_disk(entry, self._ids)
        except Invalid as error:
            raise Invalid(f"the archive's entry {shown(entry.name)} cannot be made: {error.message}") from None

    def _root(self, entry: Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise Invalid(f"the archive's entry {shown(entry.name)} would replace the root directory by something else")
        place = self._tree.place(b"")
        self._attributes(entry, place, b".")
        self._times[b""] = entry.mtime

    def _whiteout(self, entry: Entry, parent: bytes, name: bytes) -> None:
        hidden = name[len(WHITEOUT) :]
        if name == OPAQUE:
            self._whiteouts.make_opaque(self._tree.place(parent))
        elif name.startswith(WHITEOUT + WHITEOUT):
            return  # aufs's own bookkeeping
        elif hidden in (b"", b".", b".."):
            raise Invalid(f"the archive's whiteout {shown(entry.name)} names no file")
        else:
            self._whiteouts.hide(self._tree.place(parent), hidden)

    # ── kinds of entry ─────────────────────────────────────────────────────────────────────────────────────────

    def _file(self, entry: Entry, place: Place, name: bytes) -> None:
        mode = entry.mode
        try:
            fd = os.open(name, _NEW_FILE, mode & 0o777, dir_fd=place.fd)
        except FileExistsError:
            self._tree.clear(place, name)
            fd = os.open(name, _NEW_FILE, mode & 0o777, dir_fd=place.fd)
        hand = self._hand if self._hand and self._hand.is_free() and _is_plain(entry) else None
        try:
            if hand is None:
                self._fill(fd, entry)
            if place.setgid or (entry.uid, entry.gid) != self._owner:
                os.fchown(fd, entry.uid, entry.gid)
            if mode & self._masked:
                os.fchmod(fd, mode)
            if entry.xattrs:
                self._xattrs(entry, b"/proc/self/fd/%d" % fd, follow=True)
            time = bounded(entry.mtime)
            if hand is None:
                os.utime(fd, ns=(time, time))
            else:
                taken, fd = fd, -1
                hand.take(taken, Piece(self._reader.offset, entry.size, time, entry.name))
        finally:
            if fd >= 0:
                os.close(fd)
        if place.made is not None:
            place.made.add(name)

    def _fill(self, fd: int, entry: Entry) -> None:
        if entry.segments is not None:
            self._fill_sparse(fd, entry)
        elif entry.size:
            self._reader.write_to(fd, entry.size)

    def _fill_sparse(self, fd: int, entry: Entry) -> None:
        for offset, length in entry.segments or ():
            os.lseek(fd, offset, os.SEEK_SET)
            self._reader.write_to(fd, length)
        os.ftruncate(fd, entry.size)

    def _directory(self, entry: Entry, place: Place, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, entry.mode & 0o777, dir_fd=place.fd)
            fresh = True
        except FileExistsError:
            fresh = self._merge_directory(entry, place, name)
        if not fresh or place.setgid or entry.mode & self._masked or entry.xattrs or not self._owns(entry):
            self._attributes(entry, place, name)
        self._times[path] = entry.mtime

    def _merge_directory(self, entry: Entry, place: Place, name: bytes) -> bool:
        """There is something of this name: keep a directory, replace anything else. True if it was replaced."""
        there = os.lstat(name, dir_fd=place.fd)
        if stat.S_ISDIR(there.st_mode):
            return False
        self._tree.clear(place, name)
        os.mkdir(name, entry.mode & 0o777, dir_fd=place.fd)
        if self._whiteouts.is_whiteout(there):
            self._whiteouts.make_opaque(self._tree.below(place, name))
        return True

    def _link(self, entry: Entry, place: Place, name: bytes) -> None:
        parent, _, target_name = normal(entry.link, entry).rpartition(b"/")
        target = self._tree.place(parent)
        try:
            found = os.lstat(target_name, dir_fd=target.fd)
        except FileNotFoundError:
            found = None
        if not target_name or found is None or stat.S_ISDIR(found.st_mode) or self._whiteouts.is_whiteout(found):
            raise Invalid(
                f"the archive's entry {shown(entry.name)} is a hard link to {shown(entry.link)}, which is no file of it"
            )
        if place.fd == target.fd and name == target_name:
            return  # a link to itself is there already

        def link() -> None:
            os.link(target_name, name, src_dir_fd=target.fd, dst_dir_fd=place.fd, follow_symlinks=False)

        self._replacing(place, name, link)

    def _symlink(self, entry: Entry, place: Place, name: bytes) -> None:
        if not entry.link:
            raise Invalid(f"the archive's entry {shown(entry.name)} is a symbolic link to nothing")
        os.symlink(entry.link, name, dir_fd=place.fd)

    def _device(self, entry: Entry, place: Place, name: bytes) -> None:
        major, minor = entry.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise Invalid(f"the archive's entry {shown(entry.name)} is a device with impossible numbers")
        if entry.kind == tar.CHARACTER and major == minor == 0:
            raise Invalid(f"the archive's entry {shown(entry.name)} is the character device 0:0, which marks whiteouts")
        kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
        os.mknod(name, entry.mode & 0o777 | kind, os.makedev(major, minor), dir_fd=place.fd)

    def _fifo(self, entry: Entry, place: Place, name: bytes) -> None:
        os.mkfifo(name, entry.mode & 0o777, dir_fd=place.fd)

    def _replacing(self, place: Place, name: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._tree.clear(place, name)
            make()

    # ── attributes ─────────────────────────────────────────────────────────────────────────────────────────────

    def _owns(self, entry: Entry) -> bool:
        return (entry.uid, entry.gid) == self._owner

    def _attributes(self, entry: Entry, place: Place, name: bytes) -> None:
        """Owner before mode and attributes, for changing it takes set-uid bits and capabilities away."""
        os.chown(name, entry.uid, entry.gid, dir_fd=place.fd, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            _change_mode(place.fd, name, entry.mode)
        if entry.xattrs:
            self._xattrs(entry, b"/proc/self/fd/%d/%s" % (place.fd, name), follow=False)
        if entry.kind != tar.DIRECTORY:
            time = bounded(entry.mtime)
            os.utime(name, ns=(time, time), dir_fd=place.fd, follow_symlinks=False)

    def _xattrs(self, entry: Entry, path: bytes, *, follow: bool) -> None:
        """Only what means the same on every host: no ``trusted.overlay.*`` (it would steer the kernel's overlay), no
        labels of somebody else's security policy."""
        for key, value in entry.xattrs.items():
            if not key.startswith(_XATTRS) or key.startswith(b"user.overlay."):
                continue
            try:
                os.setxattr(path, key, value, follow_symlinks=follow)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
                    raise
                if key not in self._without_xattrs:
                    self._without_xattrs.add(key)
                    log.warning("%s: the attribute %s was left out: %s", shown(entry.name), shown(key), error.strerror)

    def _finish_directories(self) -> None:
        for path, time in self._times.items():
            self._tree.settle()
            parent, _, name = path.rpartition(b"/")
            place = self._tree.existing(parent)
            if place is None:
                continue  # removed by a later entry
            name = name or b"."
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(name, dir_fd=place.fd).st_mode):
                    os.utime(name, ns=(bounded(time),) * 2, dir_fd=place.fd)


def _is_plain(entry: Entry) -> bool:
    """Can it be filled when all else is done? Writing takes set-uid bits and capabilities away."""
    return 0 < entry.size <= LARGEST_HANDED and entry.segments is None and not entry.xattrs and entry.mode < 0o1000


def _change_mode(directory: int, name: bytes, mode: int) -> None:
    """chmod(2) that follows no link: somebody may put one there at this moment."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(b"/proc/self/fd/%d" % fd, mode)  # noqa: PTH101 - a descriptor
    finally:
        os.close(fd)


def normal(name: bytes, entry: Entry | None = None) -> bytes:
    """A name from an archive as a plain relative path, ``b""`` for the root; ``Invalid`` if it climbs above it."""
    if len(name) > LONGEST_NAME:
        raise Invalid(f"the archive's entry {shown(name)} has a name longer than {LONGEST_NAME} bytes")
    if not name:
        raise Invalid("the archive has an entry or a hard link without a name")
    if name[0] not in b"./" and b"/." not in name and b"//" not in name:
        return name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise _outside(name, entry)
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _outside(name: bytes, entry: Entry | None) -> Invalid:
    if entry is None:
        return Invalid(f"the archive's entry {shown(name)} points outside of the image")
    return Invalid(f"the archive's entry {shown(entry.name)} is a link to {shown(name)}, outside of the image")


def bounded(nanoseconds: int) -> int:
    """A time that every file system and the kernel can take."""
    limit = _LONGEST_TIME * 1_000_000_000
    return nanoseconds if -limit < nanoseconds < limit else 0


def _umask() -> int:
    """The process's umask without changing it for a moment, as umask(2) would for all threads (proc(5))."""
    with Path("/proc/self/status").open() as status:
        return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), 0o777)


_IMPOSSIBLE = frozenset(
    (errno.ENOENT, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EILSEQ, errno.EFBIG)
)
_OCCUPIED = frozenset((errno.EBUSY, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR))
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMLINK))


def _explained(entry: bytes, error: OSError) -> SampanError:
    reason = (error.strerror or str(error)).lower()
    name = shown(entry)
    if error.errno == errno.EROFS:
        return Forbidden(f"the archive's entry {name} cannot be made: it would lie on a read-only mount")
    if error.errno in _OCCUPIED:
        return Conflict(f"the archive's entry {name} cannot be made: {reason}")
    if error.errno in _IMPOSSIBLE:
        return Invalid(f"the archive's entry {name} cannot be made: {reason}")
    if error.errno in _FULL:
        return Exhausted(f"no room for the archive's entry {name}: {reason}")
    if error.errno in (errno.EPERM, errno.EACCES):
        return Forbidden(f"this host does not let us make the archive's entry {name}: {reason}")
    return Unavailable(f"the archive's entry {name} could not be written: {reason}")
