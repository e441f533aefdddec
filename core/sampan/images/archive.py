"""Image archives as they come in: one tar stream, possibly compressed, that can be read only once.

A manifest comes after the layers that it names, so every file is first taken into the content store's ingest area
under a name of ours; names from the archive are only looked up, never used as paths.
"""

from __future__ import annotations

import os
import posixpath
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from sampan.errors import Invalid
from sampan.images import tar_reader as tar
from sampan.images.compression import NONE, looked_at, recognise
from sampan.images.confined.workers import Workers
from sampan.images.content import ContentStore, Ingest
from sampan.images.drafts import NONE as NO_DRAFTS
from sampan.images.drafts import Drafts
from sampan.images.tar_reader import Entry, NoTar, TarReader

JSON_LIMIT = 4 << 20  # bytes; manifests and configurations are a thousandth of this
ENTRY_LIMIT = 20_000
LINK_LIMIT = 16
SMALL = 1 << 16  # bytes of a file that is unpacked so fast that it can as well be done later
MAGIC_AT = 257  # where a tar header says "ustar", in both of its forms
NO_ARCHIVE = "this is not an image archive: it is not a tar, plain or compressed with gzip, zstd, bzip2 or xz"


class Archive:
    """The files of an image archive, by name. Leaving the ``with`` block removes what was not committed.

    ``drafts``: where what looks like a layer is unpacked meanwhile.
    """

    def __init__(self, content: ContentStore, workers: Workers, drafts: Drafts = NO_DRAFTS) -> None:
        self._content = content
        self._drafts = drafts
        self._workers = workers
        self._files: dict[str, Ingest] = {}
        self._links: dict[str, str] = {}

    def read(self, stream: BinaryIO) -> None:
        """Take all files of a tar stream. ``Invalid`` if it is not one, is cut short, or names paths outside."""
        compression, whole = looked_at(stream)
        if compression == NONE:
            self._read(whole)
            return
        with self._content.ingest() as packed:
            packed.copy(whole)
            with packed.reader() as source, self._workers.inflating(source.fileno()) as plain:
                self._read(plain)

    def _read(self, plain: BinaryIO) -> None:
        reader = TarReader(plain)
        try:
            for count, entry in enumerate(reader):
                if count == ENTRY_LIMIT:
                    raise Invalid(f"the archive has more than {ENTRY_LIMIT} entries, which no image archive has")
                self._take(reader, entry)
        except NoTar as error:
            raise Invalid(str(error) if reader.begun else NO_ARCHIVE) from None

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def file(self, name: str, wanted_by: str) -> Ingest:
        """The file of that name. ``Invalid`` names it and who wanted it."""
        found = self._find(name)
        if found is None:
            raise Invalid(f'the archive lacks the file "{name}", which its {wanted_by} names')
        return found

    def bytes(self, name: str, wanted_by: str) -> bytes:
        """The content of a small file. ``Invalid`` if it is missing or too large to be metadata."""
        file = self.file(name, wanted_by)
        if file.size > JSON_LIMIT:
            raise Invalid(f'"{name}" in the archive has {file.size} bytes, too many for a manifest or a configuration')
        with file.reader() as stream:
            return stream.read()

    def json(self, name: str, wanted_by: str, shape: Any) -> Any:
        """A small file as JSON, checked against a type. ``Invalid`` says what does not fit."""
        return decode(self.bytes(name, wanted_by), f'"{name}" in the archive', shape)

    def _find(self, name: str) -> Ingest | None:
        name = posixpath.normpath(name)
        for _ in range(LINK_LIMIT):
            if name not in self._links:
                break
            name = self._links[name]
        return self._files.get(name)

    def _take(self, reader: TarReader, entry: Entry) -> None:
        name = _inside(os.fsdecode(entry.name), "entry")
        if entry.kind == tar.FILE and entry.segments is None:
            ingest = self._content.ingest()
            if name in self._files:
                self._files[name].abandon()
            self._files[name] = ingest
            drafted = entry.size < SMALL or self._content.has_named(name)
            with ingest.filling() as write:
                for data in reader.pieces(entry.size):
                    write(data)
                    if not drafted and ingest.size >= tar.BLOCK:
                        drafted = True
                        self._unpack_meanwhile(ingest)
        elif entry.kind == tar.SYMLINK:
            link = posixpath.join(posixpath.dirname(name), os.fsdecode(entry.link))
            self._links[name] = _inside(link, "link")
        elif entry.kind == tar.LINK:
            self._links[name] = _inside(os.fsdecode(entry.link), "link")
        elif entry.kind != tar.DIRECTORY:
            raise Invalid(f'the archive has a device or pipe "{name}" beside its layers, where only files belong')

    def _unpack_meanwhile(self, file: Ingest) -> None:
        """Whether it is a layer only the manifest tells, which comes last. Most files of this look are."""
        with file.reader() as stream:
            head = stream.read(tar.BLOCK)
        if recognise(head) in ("gzip", "zstd") or head[MAGIC_AT:].startswith(b"ustar"):
            file.draft = self._drafts.begin(file.path)
            if file.draft:
                file.draft.growth.grew(file.size)

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.abandon()


def decode(data: bytes, what: str, shape: Any) -> Any:
    """JSON checked against a type; ``Invalid`` begins with ``what``."""
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{what} is not as it should be: {error}") from None


def _inside(name: str, what: str) -> str:
    path = posixpath.normpath(name)
    if path.startswith(("/", "../")) or path == ".." or "\0" in path:
        raise Invalid(f"the archive's {what} {name[:200]!r} leads outside of the archive")
    return path
