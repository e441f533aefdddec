"""Putting the files of an archive into a directory that somebody uses: ``cp`` into a container.

Unlike a layer's directory, this one has mounts in it, its links count from the container's root, and a process in the
container may change all of it meanwhile: every entry is made through descriptors that were resolved inside that root.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from sampan.errors import Conflict, Invalid
from sampan.images import tar_reader as tar
from sampan.images.layer_tree import Around, LayerTree
from sampan.images.tar_fields import shown
from sampan.images.tar_reader import Entry, TarReader
from sampan.images.unpack import Unpacker, normal
from sampan.images.whiteouts import Whiteouts
from sampan.linux.idmaps import SAME, IdMap
from sampan.linux.paths import RESOLVE_NO_XDEV, openat2


def unpack_into(
    stream: BinaryIO,
    directory: int,
    around: Around | None = None,
    *,
    keep_kinds: bool = False,
    owner: tuple[int, int] | None = None,
    only: bytes | None = None,
    ids: IdMap = SAME,
) -> None:
    """Make the entries of an uncompressed tar stream below ``directory``, which is left as it is itself.

    ``keep_kinds``: a directory is not replaced by anything else, nor anything else by a directory (``Invalid``).
    ``owner`` (uid, gid) for everything; None: as the archive says. ``only``: the archive holds one entry, to be made
    under this name. Without ``around`` links lead nowhere out of ``directory``. ``ids``: what owners are on disk.
    ``Invalid``, ``Conflict``, ``Forbidden`` or ``Exhausted`` name the entry that could not be made; those before
    it stay.
    """
    with LayerTree(directory, tracking=False, around=around, owner=ids.root if ids else None) as tree:
        _Copier(TarReader(stream), tree, keep_kinds, owner, only, ids).run()


class _Copier(Unpacker):
    marks = False

    def __init__(
        self,
        reader: TarReader,
        tree: LayerTree,
        keep_kinds: bool,
        owner: tuple[int, int] | None,
        only: bytes | None,
        ids: IdMap,
    ) -> None:
        super().__init__(reader, tree, Whiteouts(tree, overlay=False), ids)
        self._keep_kinds = keep_kinds
        self._for = owner
        self._gives = bool(owner or ids)
        self._only = only

    def _apply(self, entry: Entry) -> None:
        if self._only is not None:
            entry.name = self._only
        path = normal(entry.name)
        if not path:
            return
        self._check_there(entry, path)
        super()._apply(entry)

    def _give(self, entry: Entry) -> None:
        if self._for:
            entry.uid, entry.gid = self._for
        if self._ids:
            super()._give(entry)

    def _check_there(self, entry: Entry, path: bytes) -> None:
        """May what is there already be replaced, or completed if both are directories?"""
        parent, _, name = path.rpartition(b"/")
        place = self._tree.existing(parent)
        try:
            there = os.lstat(name, dir_fd=place.fd) if place else None
        except FileNotFoundError:
            there = None
        if place is None or there is None:
            return
        directory, wanted = stat.S_ISDIR(there.st_mode), entry.kind == tar.DIRECTORY
        if directory and wanted:
            return
        if self._keep_kinds and directory != wanted:
            kinds = ("directory", "non-directory") if directory else ("non-directory", "directory")
            raise Invalid(f"cannot overwrite {kinds[0]} {shown(path)} with {kinds[1]} {shown(entry.name)}")
        if _is_mount_point(place.fd, name):
            raise Conflict(f"{shown(path)} cannot be replaced, for something is mounted on it: device or resource busy")


def _is_mount_point(directory: int, name: bytes) -> bool:
    """Is something mounted there? The kernel refuses to unlink mount points of our own namespace only: one of
    another's it would take apart."""
    try:
        os.close(openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_XDEV))
    except OSError as error:
        return error.errno == errno.EXDEV
    return False
