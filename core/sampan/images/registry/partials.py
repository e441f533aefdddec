"""Blobs that are being downloaded: files in ``partial/`` of the content store, named by the digest they shall have.

They outlive the daemon, so that whoever pulls again goes on where it ended: what is there is hashed again, the rest is
fetched. A complete one is *linked* into the store, and its name here is only forgotten when an image's record speaks
for the blob; until then the store may throw the blob away, and this name keeps it. What nobody has written to for a day
is removed when the daemon starts.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sampan.errors import Exhausted, Invalid
from sampan.images.content import CHUNK, ContentStore, hex_of
from sampan.images.drafts import Draft

AGE = 24 * 3600.0  # seconds
SPARE = 16 << 20  # bytes that are left free on the disk


class Partials:
    """Thread-safe, as long as one digest is written by one at a time."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._root = content.root / "partial"
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()  # digits of the digests that are being written

    def open(self) -> None:
        """Make the directory, and remove what is old or has become a blob. Called when no download is on its way."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for entry in os.scandir(self._root):
            with suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > AGE or self._is_kept(entry.name):
                    (self._root / entry.name).unlink()

    def begin(self, digest: str, size: int) -> Partial:
        """Go on with a blob of so many bytes. ``Exhausted`` if the disk has no room for it."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self._open[hex_of(digest)] += 1
        partial = Partial(self._root / hex_of(digest), digest, size, self._closed)
        room = os.statvfs(self._root)
        if size - partial.size > max(0, room.f_bavail * room.f_frsize - SPARE):
            partial.close()
            raise Exhausted(f"no space is left for blob {digest}, which has {size} bytes")
        return partial

    def sweep(self) -> int:
        """Remove what nobody is writing to; returns how many bytes that were."""
        freed = 0
        with self._lock:
            for entry in os.scandir(self._root):
                found = entry.stat()
                if not self._open[entry.name]:
                    (self._root / entry.name).unlink(missing_ok=True)
                    freed += found.st_size if found.st_nlink == 1 else 0
        return freed

    def keep(self, partial: Partial) -> None:
        """Make a complete one a blob. It is not yet synced: see :meth:`settle`."""
        target = self._content.path(partial.digest)
        with suppress(FileExistsError):
            os.link(partial.path, target)

    def settle(self, digests: list[str]) -> None:
        """Have these blobs on the disk: before a record speaks for them."""
        for digest in digests:
            path = self._root / hex_of(digest)
            if path.exists():
                _sync(self._content.path(digest))
        _sync(self._content.path(digests[0]).parent)

    def forget(self, digests: list[str]) -> None:
        """A record speaks for these blobs now. It may be gone again, and somebody is downloading one of them anew."""
        with self._lock:
            for name in map(hex_of, digests):
                if not self._open[name]:
                    (self._root / name).unlink(missing_ok=True)

    def _closed(self, digest: str) -> None:
        with self._lock:
            self._open -= Counter([hex_of(digest)])

    def _is_kept(self, name: str) -> bool:
        return len(name) != 64 or self._content.has(f"sha256:{name}")


class Partial:
    """``size`` bytes are there and hashed, of ``whole``. Leaving the ``with`` block closes the file and keeps it."""

    def __init__(self, path: Path, digest: str, whole: int, closed: Callable[[str], object]) -> None:
        self._closed = closed
        self.path = path
        self.digest = digest
        self.whole = whole
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._hash = hashlib.sha256()
        self.size = 0
        self._draft: Draft | None = None
        self._read()
        self.began_at = self.size

    def unpack_meanwhile(self, draft: Draft | None) -> None:
        """``draft`` is made of it while it comes."""
        self._draft = draft
        self._tell(self.size)

    def write(self, data: bytes | bytearray) -> None:
        """``Invalid`` if that is more than there shall be."""
        if self.size + len(data) > self.whole:
            raise Invalid(f"blob {self.digest} has more than the {self.whole} bytes that were announced")
        self._hash.update(data)
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self.size, view = self.size + written, view[written:]
            self._tell(written)

    def reset(self) -> None:
        """Begin anew."""
        if self._draft:
            self._draft.growth.give_up()
            self._draft = None
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = self.began_at = 0

    def is_right(self) -> bool:
        return "sha256:" + self._hash.hexdigest() == self.digest

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._closed(self.digest)

    def _tell(self, more: int) -> None:
        if self._draft:
            self._draft.growth.grew(more)
            if self.size == self.whole:
                self._draft.growth.end()

    def _read(self) -> None:
        """What an earlier download has left; more than there shall be is no part of it."""
        if os.fstat(self._file).st_size > self.whole:
            os.ftruncate(self._file, 0)
        while data := os.read(self._file, CHUNK):
            self._hash.update(data)
            self.size += len(data)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
