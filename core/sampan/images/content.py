"""The content store: blobs by digest, in the directory layout of the OCI image specification (``blobs/sha256/HEX``).

A blob is written into ``ingest/``, hashed on the way, synced, and renamed into place: whoever finds a blob by its
digest finds all of it. What an interrupted write left in ``ingest/`` is removed when the store is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from sampan.errors import Invalid, NotFound
from sampan.images.confined.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from sampan.images.drafts import Draft

CHUNK = 1 << 20
_AHEAD = 8  # pieces that are written and not yet hashed
_SMALL = 1 << 20  # bytes for which no thread is worth while
_STEP = 32 << 20  # bytes between two looks at how much room is left
_DIGEST = re.compile(r"sha256:([a-f0-9]{64})")


def hex_of(digest: str) -> str:
    """The 64 hex digits of a ``sha256:`` digest. ``Invalid`` for anything else."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise Invalid(f'"{digest[:80]}" is not a digest this engine can check (sha256: and 64 hex digits)')
    return match.group(1)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Ingest:
    """A blob on its way in. Write to it, then ``commit`` or ``abandon``; leaving the ``with`` block abandons it.

    ``Invalid`` if it becomes larger than a layer may be, ``Exhausted`` before the disk is full.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        descriptor, name = tempfile.mkstemp(dir=store.ingest_root)
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._hash = hashlib.sha256()
        self._told = ""
        self._next = 0
        self.size = 0
        self.draft: Draft | None = None
        """What is unpacked from it meanwhile."""

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return self._told or "sha256:" + self._hash.hexdigest()

    def fileno(self) -> int:
        """For somebody else to write to, who then says what it was to :meth:`filled`."""
        return self._file.fileno()

    def filled(self, size: int, digest: str) -> None:
        """Somebody has written all of it."""
        self.size, self._told = size, digest

    def write(self, data: bytes | memoryview) -> int:
        self._hash.update(data)
        self._put(data)
        return len(data)

    @contextmanager
    def filling(self) -> Iterator[Callable[[memoryview], None]]:
        """A function that writes; hashing is done beside that, for both take their time. Then it is closed."""
        pieces: SimpleQueue[memoryview | None] = SimpleQueue()
        room = threading.Semaphore(_AHEAD)
        hasher: threading.Thread | None = None

        def hash_all() -> None:
            while (piece := pieces.get()) is not None:
                self._hash.update(piece)
                room.release()

        def write(data: memoryview) -> None:
            nonlocal hasher
            if hasher is None and self.size < _SMALL:
                self.write(data)
                return
            if hasher is None:
                hasher = threading.Thread(target=hash_all, name="hashing", daemon=True)
                hasher.start()
            room.acquire()
            pieces.put(data)  # its bytes do not change
            self._put(data)

        try:
            yield write
        finally:
            if hasher:
                pieces.put(None)
                hasher.join()
            self.close()
            if self.draft:
                self.draft.growth.end()

    def _put(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        if self.size + len(view) > self._next:
            self._look(len(view))
        self.size += len(view)
        while view:
            written = self._file.write(view)
            view = view[written:]
            if self.draft:
                self.draft.growth.grew(written)

    def _look(self, more: int) -> None:
        limits = self._store.limits
        self._next = min(self.size + more + _STEP, limits.size)
        if self.size + more > limits.size:
            raise Invalid(f"a file of the archive has more than {limits.size} bytes, the limit of images.layer_size")
        limits.check_room(self._file.fileno(), more)

    def copy(self, stream: BinaryIO) -> None:
        """Write all that ``stream`` still has."""
        while chunk := stream.read(CHUNK):
            self.write(chunk)

    def reader(self) -> FileIO:
        """What was written, from the beginning, before or after ``commit``."""
        try:
            return self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return self._store.reader(self.digest)

    def close(self) -> None:
        """No more will be written; the descriptor is given back, the file stays until commit or abandon."""
        self._file.close()

    def commit(self, expected: str | None = None) -> str:
        """Make it a blob and return its digest. ``Invalid`` if it is not the ``expected`` one."""
        digest = self.digest
        if expected is not None and expected != digest:
            raise Invalid(f"content does not match its digest: expected {expected}, got {digest}")
        self._store.adopt(self, digest)
        return digest

    def abandon(self) -> None:
        """Remove it, unless it was committed. Idempotent."""
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()


class ContentStore:
    """Blobs under ``root``. Thread-safe: files appear and go by rename and unlink."""

    def __init__(self, root: Path, limits: Limits = DEFAULT) -> None:
        self.root = root
        self.limits = limits
        self.ingest_root = root / "ingest"
        self._blobs = root / "blobs" / "sha256"

    def open(self) -> None:
        """Make the directories and remove what interrupted writes left."""
        self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self.ingest_root, ignore_errors=True)
        self.ingest_root.mkdir(mode=0o700)

    def ingest(self) -> Ingest:
        return Ingest(self)

    def add(self, data: bytes) -> str:
        """Keep ``data``; returns its digest."""
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit()

    def adopt(self, ingest: Ingest, digest: str) -> None:
        """For ``Ingest.commit``: sync the file and rename it into place, over one that may have gone bad."""
        ingest.close()
        if not ingest.path.exists():
            return  # committed before
        _sync(ingest.path)
        ingest.path.rename(self.path(digest))
        _sync(self._blobs)

    def path(self, digest: str) -> Path:
        return self._blobs / hex_of(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def has_named(self, name: str) -> bool:
        """Is there a blob of the digits that a path ends in, as those of OCI layouts do?"""
        digits = name.rpartition("/")[2]
        return _DIGEST.fullmatch(f"sha256:{digits}") is not None and self.has(f"sha256:{digits}")

    def size(self, digest: str) -> int:
        """Bytes of the blob. ``NotFound`` if it is not kept."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def reader(self, digest: str) -> FileIO:
        """The blob, seekable, unbuffered: read it in large pieces. ``NotFound`` if it is not kept."""
        try:
            return self.path(digest).open("rb", buffering=0)
        except FileNotFoundError:
            raise _missing(digest) from None

    def verify(self, digest: str) -> None:
        """Read the whole blob and compare. ``Invalid`` if it is damaged."""
        with self.reader(digest) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != hex_of(digest):
            raise Invalid(f"the stored blob {digest} is damaged: its content has the digest sha256:{found}")

    def remove(self, digest: str) -> None:
        """Absent is fine."""
        with suppress(FileNotFoundError):
            self.path(digest).unlink()

    def digests(self) -> Iterator[str]:
        """Every blob that is kept."""
        for entry in os.scandir(self._blobs):
            yield "sha256:" + entry.name


def _missing(digest: str) -> NotFound:
    return NotFound(f"the content store has no blob {digest}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
