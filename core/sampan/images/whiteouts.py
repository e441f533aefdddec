"""What a layer hides of the layers below it.

In an archive, ``.wh.NAME`` hides NAME and ``.wh..wh..opq`` hides all of its directory (OCI image specification,
layer.md, "Whiteouts"). Both speak of lower layers only: what the same layer brings stays, in whatever order the
entries come. In an overlay's layer directory a hidden name is a character device 0:0 and a directory that hides what
was below it has the attribute ``trusted.overlay.opaque`` (Linux, filesystems/overlayfs.rst).
"""

from __future__ import annotations

import contextlib
import os
import stat

from sampan.images.layer_tree import LayerTree, Place
from sampan.linux.trees import remove_tree

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"


class Whiteouts:
    """Applies whiteouts to a layer's directory: ``overlay`` leaves the kernel's marks, otherwise files go."""

    def __init__(self, tree: LayerTree, *, overlay: bool) -> None:
        self._tree = tree
        self._overlay = overlay

    def hide(self, place: Place, name: bytes) -> None:
        """``name`` in ``place`` is not there any more, as far as lower layers had it."""
        if self._overlay:
            self._mark_hidden(place, name)
        elif place.made is None or name not in place.made:
            with contextlib.suppress(FileNotFoundError):  # a whiteout may hide nothing
                self._tree.clear(place, name)
        elif _is_directory(place.fd, name):
            self._strip(place.path + b"/" + name if place.path else name)

    def make_opaque(self, place: Place) -> None:
        """Nothing that lower layers had in ``place`` is there any more."""
        if self._overlay:
            self._tree.make_opaque(place.fd)
        else:
            self._strip(place.path)

    def is_whiteout(self, status: os.stat_result) -> bool:
        """Is this file one of our marks?"""
        return self._overlay and is_overlay_whiteout(status)

    def _mark_hidden(self, place: Place, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=place.fd)
        except FileExistsError:
            if _is_directory(place.fd, name):
                self.make_opaque(self._tree.below(place, name))

    def _strip(self, path: bytes) -> None:
        """Remove everything below ``path`` that this layer did not make."""
        pending = [path]
        while pending:
            here = pending.pop()
            fd = self._tree.open_directory(here)
            try:
                ours = self._tree.made_in(here)
                for name in map(os.fsencode, os.listdir(fd)):  # noqa: PTH208 - a descriptor
                    if name not in ours:
                        remove_tree(fd, name)
                    elif _is_directory(fd, name):
                        pending.append(here + b"/" + name if here else name)
            finally:
                os.close(fd)


def is_overlay_whiteout(status: os.stat_result) -> bool:
    """A character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_directory(parent: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)
