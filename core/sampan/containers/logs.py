"""Reading a container's log: files in the format of Docker's json-file driver, the rotated ones first.

One JSON object per line: ``log``, ``stream``, ``time``. A line without its newline is still being written. The files
are ours, but a container decides what is in them: a line that is no such object is passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from sampan.containers.timestamps import nanoseconds
from sampan.errors import Invalid
from sampan.linux.inotify import Watch

_PIECE = 64 * 1024
_LONGEST_LINE = 1 << 20
_BATCH = 256  # entries that are read at once, off the event loop


class LogEntry(msgspec.Struct, frozen=True):
    """``stream`` is ``stdout`` or ``stderr``, ``time`` RFC 3339 with nanoseconds, ``data`` ends with its newline."""

    stream: str
    time: str
    data: bytes


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: ``since`` and ``until`` in nanoseconds since 1970 (None: no bound), ``tail`` the last so many."""

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
        return (self.since is None or at >= self.since) and not self.is_over(at)

    def is_over(self, at: int) -> bool:
        return self.until is not None and at > self.until


class _Line(msgspec.Struct):
    log: str
    stream: str
    time: str


_decoder = msgspec.json.Decoder(_Line)


def decode(line: bytes) -> LogEntry | None:
    try:
        read = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if read.stream not in ("stdout", "stderr"):
        return None
    return LogEntry(read.stream, read.time, read.log.encode("utf-8", "replace"))


def files(path: Path) -> list[Path]:
    """The log's files that exist, the oldest first."""
    found = [path] if path.exists() else []
    number = 1
    while (older := path.with_name(f"{path.name}.{number}")).exists():
        found.append(older)
        number += 1
    return found[::-1]


def read(path: Path, wanted: Wanted) -> Iterator[LogEntry]:
    """What is in the log now, in order."""
    reader = Reader(path)
    try:
        yield from reader.kept(wanted)
    finally:
        reader.close()


class Reader:
    """Reads a log to its end, and on from there when it has grown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def kept(self, wanted: Wanted) -> Iterator[LogEntry]:
        """The entries up to the end as it is now."""
        opened = _opened(self._path)
        try:
            if wanted.tail is not None:
                _seek_tail(opened, wanted)
            while opened:
                self.close()
                self._file, self._rest = opened.pop(0), b""
                yield from filter(wanted.takes, self.more())
        finally:
            for file in opened:
                file.close()

    def more(self) -> Iterator[LogEntry]:
        """The entries that were added to the file that is open."""
        while self._file:
            piece = self._file.read(_PIECE)
            if not piece:
                return
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > _LONGEST_LINE:
                self._rest = b""
            for line in lines:
                entry = decode(line)
                if entry:
                    yield entry

    def turn(self) -> bool:
        """Go on to the next file if the log was rotated; call when :meth:`more` has nothing more to give."""
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return False
        if self._file:
            ours = os.fstat(self._file.fileno())
            if (ours.st_dev, ours.st_ino) == (current.st_dev, current.st_ino):
                if current.st_size >= self._file.tell():
                    return False
                self._file.seek(0)  # emptied in place
                self._rest = b""
                return True
        following = self._following()
        if following is None:
            return False
        self.close()
        self._file, self._rest = following, b""
        return True

    def _following(self) -> BinaryIO | None:
        """The file that was begun after ours: the newest one, or the one whose number is one lower."""
        following = self._path
        if self._file:
            ours = os.fstat(self._file.fileno()).st_ino
            names = files(self._path)
            inodes = [_inode(name) for name in names]
            if ours in inodes[:-1]:
                following = names[inodes.index(ours) + 1]
            elif names:
                following = names[0]
        try:
            return following.open("rb")
        except FileNotFoundError:
            return None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def _opened(path: Path) -> list[BinaryIO]:
    opened: list[BinaryIO] = []
    for name in files(path):
        with contextlib.suppress(FileNotFoundError):  # rotated away meanwhile
            opened.append(name.open("rb"))
    return opened


def _seek_tail(opened: list[BinaryIO], wanted: Wanted) -> None:
    """Drop the files, and skip to the place in the first one kept, from where the tail is read."""
    missing = wanted.tail or 0
    for index in reversed(range(len(opened))):
        place = opened[index].seek(0, os.SEEK_END)
        for at, line in _backwards(opened[index]) if missing else ():
            entry = decode(line)
            if entry and wanted.takes(entry):
                place, missing = at, missing - 1
                if not missing:
                    break
        opened[index].seek(place if not missing else 0)
        if not missing:
            for file in opened[:index]:
                file.close()
            del opened[:index]
            return


def _backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """``(offset, line)`` of each whole line, the last first."""
    at = file.seek(0, os.SEEK_END)
    rest, unfinished = b"", True
    while at > 0:
        size = min(_PIECE, at)
        at -= size
        file.seek(at)
        data = file.read(size) + rest
        if unfinished:  # what comes after the last newline is not a line yet
            end = data.rfind(b"\n")
            if end < 0:
                continue
            data, unfinished = data[:end], False
        rest, *lines = data.split(b"\n")
        place = at + len(data)
        for line in reversed(lines):
            place -= len(line)
            yield place, line
            place -= 1
    if rest:
        yield 0, rest


async def follow(path: Path, wanted: Wanted, ended: asyncio.Future[Any]) -> AsyncIterator[LogEntry]:
    """The log so far and from now on, until ``ended`` is done (and all that was written by then was given)."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    watch = Watch(path.parent)

    def wake() -> None:
        watch.drain()
        changed.set()

    loop.add_reader(watch.fileno(), wake)
    ended.add_done_callback(lambda _: changed.set())
    reader = Reader(path)
    try:
        kept = reader.kept(wanted)
        while batch := await asyncio.to_thread(_batch, kept):
            for entry in batch:
                yield entry
        while True:
            over = ended.done()
            changed.clear()
            for entry in _grown(reader):
                if wanted.takes(entry):
                    yield entry
                elif wanted.until is not None and wanted.is_over(nanoseconds(entry.time)):
                    return
            if over:
                return
            await changed.wait()
    finally:
        loop.remove_reader(watch.fileno())
        watch.close()
        reader.close()


def _batch(entries: Iterator[LogEntry]) -> list[LogEntry]:
    return list(itertools.islice(entries, _BATCH))


def _grown(reader: Reader) -> Iterator[LogEntry]:
    yield from reader.more()
    while reader.turn():
        yield from reader.more()
