"""Reading a container's log, while it is written and rotated: the last so many entries, those of a time, those to come.

The file that is written is at the log's path, ``.1`` is the one before it, and so on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from sampan.containers.streams import logformats
from sampan.containers.streams.logformats import Format, LogEntry
from sampan.containers.timestamps import nanoseconds
from sampan.errors import Invalid
from sampan.linux.inotify import Watch

_PIECE = 64 * 1024
_GZIP, _GZIP_HEAD = b"\x1f\x8b", 10  # RFC 1952
_BATCH = 256  # entries that are read at once, off the event loop


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: ``since`` and ``until`` in nanoseconds since 1970 (None: no bound); and of ``tail``
    entries at the end of the log, whichever they are, as Docker has it."""

    stdout: bool = True
    stderr: bool = True
    since: int | None = None
    until: int | None = None
    tail: int | None = None

    def takes(self, entry: LogEntry) -> bool:
        if not (self.stdout if entry.stream == "stdout" else self.stderr):
            return False
        if self.since is None and self.until is None:
            return True
        try:
            at = nanoseconds(entry.time)
        except Invalid:
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)

    def is_before(self, entry: LogEntry) -> bool:
        """Whether ``until`` is over at ``entry``."""
        with contextlib.suppress(Invalid):
            return self.until is not None and nanoseconds(entry.time) > self.until
        return False


def files(path: Path) -> list[Path]:
    """The log's files that exist, the oldest first; those that were left behind may be compressed."""
    found = [path] if path.exists() else []
    for number in itertools.count(1):
        plain, compressed = (path.with_name(f"{path.name}.{number}{end}") for end in ("", ".gz"))
        if not plain.exists() and not compressed.exists():
            return found[::-1]
        found.append(plain if plain.exists() else compressed)
    raise AssertionError


class Seam(msgspec.Struct, frozen=True):
    """A moment in a log: the file that was written then, and how large it was."""

    inode: int
    size: int


def read(path: Path, wanted: Wanted, driver: str = "json-file", until: Seam | None = None) -> Iterator[LogEntry]:
    """What the log driver ``driver`` has written to the log by now, or ``until`` a moment, in order."""
    reader = Reader(path, logformats.named(driver))
    try:
        yield from reader.kept(wanted, until)
    finally:
        reader.close()


class Reader:
    """Reads a log to its end, and on from there when it has grown."""

    def __init__(self, path: Path, written: Format) -> None:
        self._path = path
        self._format = written
        self._file: BinaryIO | None = None
        self._known: BinaryIO | None = None  # the same, as it lies on the disk: while it is open, its inode is its own
        self._rest = b""

    def close(self) -> None:
        for file in (self._file, self._known):
            if file:
                file.close()
        self._file = self._known = None

    def kept(self, wanted: Wanted, until: Seam | None = None) -> Iterator[LogEntry]:
        """The entries up to the end as it is now, or up to ``until``."""
        opened = _opened(self._path)
        if until:
            _cut(opened, until.inode)
        size = until.size if until else _size(opened)
        try:
            if wanted.tail is not None:
                self._seek_tail(opened, wanted, size)
            while opened:
                self._go_on(opened.pop(0))
                yield from filter(wanted.takes, self.more(None if opened else size))
        finally:
            _close(opened)

    def grown(self) -> Iterator[LogEntry]:
        """The entries that were added, in the files that were begun since, too."""
        yield from self.more()
        while following := self._following():
            yield from self.more()  # what came after we looked and before the rotation: the last in this file
            self._go_on(following)
            yield from self.more()

    def more(self, size: int | None = None) -> Iterator[LogEntry]:
        """The entries that were added to the file that is open, until it was ``size`` bytes."""
        while self._file:
            left = _PIECE if size is None else size - self._file.tell()
            piece = self._file.read(max(0, min(_PIECE, left)))
            if not piece:
                return
            entries, self._rest = self._format.split(self._rest + piece)
            yield from entries

    def _seek_tail(self, opened: list[BinaryIO], wanted: Wanted, end: int) -> None:
        """Drop the files, and skip to the place in the first one kept, from where the tail is read."""
        missing = wanted.tail or 0
        for index in reversed(range(len(opened))):
            if index < len(opened) - 1:
                opened[index] = _exchanged(opened[index])
                end = _size(opened[: index + 1])
            place = end
            for at, entry in self._format.backwards(opened[index], end) if missing else ():
                if entry:
                    place, missing = at, missing - 1
                    if not missing:
                        break
            opened[index].seek(place if not missing else 0)
            if not missing:
                _close(opened[:index])
                del opened[:index]
                return

    def _go_on(self, file: BinaryIO) -> None:
        self.close()
        self._known, self._file, self._rest = file, _plain(file), b""

    def _following(self) -> BinaryIO | None:
        """The file that was begun after ours; or ours again, from its start, if somebody emptied it in place."""
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return None  # the next one is not there yet
        if not self._file or not self._known:
            opened = _opened(self._path)
        else:
            inode = os.fstat(self._known.fileno()).st_ino
            if inode == current.st_ino:
                return self._path.open("rb") if current.st_size < self._file.tell() else None
            opened = _opened(self._path)
            place = _place(opened, inode)
            if place is not None:
                _close(opened[: place + 1])
                del opened[: place + 1]
        _close(opened[1:])
        return opened[0] if opened else None


def _opened(path: Path) -> list[BinaryIO]:
    """The log's files, the oldest first, as they were at one moment: none twice or left out because of a rotation."""
    while True:
        opened: list[BinaryIO] = []
        for name in files(path):
            with contextlib.suppress(FileNotFoundError):
                opened.append(name.open("rb"))
        if [os.fstat(file.fileno()).st_ino for file in opened] == [_inode(name) for name in files(path)]:
            return opened
        _close(opened)


def _cut(opened: list[BinaryIO], inode: int) -> None:
    """Leave the file ``inode`` and older ones: none, if it is so old that it is no longer kept."""
    place = _place(opened, inode)
    end = 0 if place is None else place + 1
    _close(opened[end:])
    del opened[end:]


def _size(opened: list[BinaryIO]) -> int:
    """The size of the file that is written: what comes later is not in the log as it was asked for."""
    return os.fstat(opened[-1].fileno()).st_size if opened else 0


def _close(opened: list[BinaryIO]) -> None:
    for file in opened:
        file.close()


def _place(opened: list[BinaryIO], inode: int) -> int | None:
    """Where the file that has or had ``inode`` is, perhaps compressed by now (``sampan.monitor.compressing``). If
    several had it, one after the other, the last one."""
    for index in reversed(range(len(opened))):
        if inode in (os.fstat(opened[index].fileno()).st_ino, _compressed_of(opened[index])):
            return index
    return None


def _compressed_of(file: BinaryIO) -> int:
    """The inode of the file that it was before it was compressed; 0 if it is not compressed."""
    head = os.pread(file.fileno(), _GZIP_HEAD + 21, 0)
    number = head[_GZIP_HEAD:].partition(b"\0")[0]
    return int(number) if head.startswith(_GZIP) and number.isdigit() else 0


def _plain(file: BinaryIO) -> BinaryIO:
    """The file, at its place, or what it is without compression, at its beginning."""
    if os.pread(file.fileno(), len(_GZIP), 0) != _GZIP:
        return file
    from isal import igzip

    plain = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    with contextlib.suppress(OSError, EOFError):  # what is not whole is read as far as it goes
        shutil.copyfileobj(igzip.IGzipFile(fileobj=file, mode="rb"), plain)
    plain.seek(0)
    return plain


def _exchanged(file: BinaryIO) -> BinaryIO:
    plain = _plain(file)
    if plain is not file:
        file.close()
    return plain


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


async def follow(
    path: Path, wanted: Wanted, ended: asyncio.Future[Any], driver: str = "json-file"
) -> AsyncGenerator[list[LogEntry], None]:
    """The log so far and from now on, until ``ended`` is done (and all that was written by then was given).

    The files are read in other threads, so much at a time: a container that writes without end keeps nobody waiting.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    watch = Watch(path.parent)

    def wake() -> None:
        watch.drain()
        changed.set()

    loop.add_reader(watch.fileno(), wake)
    ended.add_done_callback(lambda _: changed.set())
    reader = Reader(path, logformats.named(driver))
    try:
        kept = reader.kept(wanted)
        while batch := await asyncio.to_thread(_batch, kept):
            yield batch
        over = False
        while not over:
            over = ended.done() or _is_past(wanted.until)
            changed.clear()
            grown = reader.grown()
            while batch := await asyncio.to_thread(_batch, grown):
                yield [entry for entry in batch if wanted.takes(entry)]
                over = over or _is_past(wanted.until)
                if over and wanted.is_before(batch[-1]):
                    return
            if not over:
                await _wait(changed, wanted.until)
    finally:
        loop.remove_reader(watch.fileno())
        watch.close()
        reader.close()


def _is_past(moment: int | None) -> bool:
    return moment is not None and time.time_ns() > moment


async def _wait(changed: asyncio.Event, until: int | None) -> None:
    left = None if until is None else max(0.0, (until - time.time_ns()) / 1e9) + 0.001
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(changed.wait(), left)


def _batch(entries: Iterator[LogEntry]) -> list[LogEntry]:
    return list(itertools.islice(entries, _BATCH))
