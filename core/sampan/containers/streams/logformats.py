"""The formats of logs' files: Docker's json-file, and the binary one of its ``local`` driver.

The files are ours, but a container decides what is in them: what is no entry is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol

import msgspec

from sampan.containers import timestamps

_PIECE = 64 * 1024
_LATEST = (1 << 63) - 1  # time_nano is an int64
_LONGEST = 1 << 20  # bytes of an entry; ours have 16 KiB of text, escaped


class LogEntry(msgspec.Struct, frozen=True):
    """``stream`` is ``stdout`` or ``stderr``, ``time`` RFC 3339 with nanoseconds, ``data`` ends with its newline."""

    stream: str
    time: str
    data: bytes
    attrs: Mapping[str, str] = {}


class Format(Protocol):
    def split(self, data: bytes) -> tuple[list[LogEntry], bytes]:
        """The whole entries in ``data``, and what is left: the beginning of one that is still being written."""
        ...

    def backwards(self, file: BinaryIO, end: int) -> Iterator[tuple[int, LogEntry | None]]:
        """``(offset, entry)`` of each whole entry that ends before the offset ``end``, the last first; None is none."""
        ...


class _Line(msgspec.Struct):
    log: str
    stream: str
    time: str
    attrs: dict[str, str] = {}


_STREAMS = ("stdout", "stderr")
_decoder = msgspec.json.Decoder(_Line)


def _entry(line: _Line) -> LogEntry:
    return LogEntry(line.stream, line.time, line.log.encode("utf-8", "replace"), line.attrs)


class Json:
    """One JSON object per line: ``log``, ``stream``, ``attrs`` if there are any, ``time``."""

    def split(self, data: bytes) -> tuple[list[LogEntry], bytes]:
        end = data.rfind(b"\n") + 1
        rest = data[end:] if len(data) - end <= _LONGEST else b""
        try:
            read = _decoder.decode_lines(data[:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            lines = data[:end].split(b"\n")
            return [entry for line in lines if (entry := self.decode(line))], rest
        return [_entry(line) for line in read if line.stream in _STREAMS], rest

    def decode(self, line: bytes) -> LogEntry | None:
        try:
            read = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return _entry(read) if read.stream in _STREAMS else None

    def backwards(self, file: BinaryIO, end: int) -> Iterator[tuple[int, LogEntry | None]]:
        return ((at, self.decode(line)) for at, line in _lines_backwards(file, end))


def _lines_backwards(file: BinaryIO, at: int) -> Iterator[tuple[int, bytes]]:
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


class Local:
    """Messages of Docker's protocol buffer ``LogEntry`` (daemon/logger/internal/logdriver/entry.proto): source = 1,
    time_nano = 2, line = 3, partial = 4. Each stands between two copies of its length, four bytes in big endian.
    """

    def split(self, data: bytes) -> tuple[list[LogEntry], bytes]:
        entries: list[LogEntry] = []
        at = 0
        while at + 4 <= len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            if size > _LONGEST:
                return entries, b""
            end = at + size + 8
            if end > len(data):
                break
            if entry := self.decode(data[at + 4 : end - 4]):
                entries.append(entry)
            at = end
        return entries, data[at:]

    def decode(self, message: bytes) -> LogEntry | None:
        found: dict[int, int | bytes] = {}
        try:
            at = 0
            while at < len(message):
                key, at = _varint(message, at)
                value, at = _varint(message, at)
                if key & 7 == 2:
                    found[key >> 3], at = message[at : at + value], at + value
                else:
                    found[key >> 3] = value
        except IndexError:
            return None
        source, moment, line = found.get(1), found.get(2), found.get(3, b"")
        if not (isinstance(source, bytes) and isinstance(moment, int) and isinstance(line, bytes)):
            return None
        if source not in (b"stdout", b"stderr") or moment > _LATEST:
            return None
        return LogEntry(source.decode(), timestamps.text(moment), line if found.get(4) else line + b"\n")

    def backwards(self, file: BinaryIO, end: int) -> Iterator[tuple[int, LogEntry | None]]:
        end = _last_whole(file, end)
        while end >= 8:
            file.seek(end - 4)
            size = int.from_bytes(file.read(4), "big")
            at = end - size - 8
            if at < 0 or size > _LONGEST:
                return
            file.seek(at + 4)
            yield at, self.decode(file.read(size))
            end = at


def _last_whole(file: BinaryIO, end: int) -> int:
    """The offset of the end of the last whole entry: ``end``, unless one was still being written."""
    if end >= 8:
        file.seek(end - 4)
        last = file.read(4)
        at = end - 8 - int.from_bytes(last, "big")
        if at >= 0:
            file.seek(at)
            if file.read(4) == last:
                return end
    at = 0
    while at + 8 <= end:
        file.seek(at)
        following = at + 8 + int.from_bytes(file.read(4), "big")
        if following > end:
            break
        at = following
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, seven bits to a byte, and where it ends. Raises ``IndexError``."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


_FORMATS: dict[str, Format] = {"json-file": Json(), "local": Local()}


def named(driver: str) -> Format:
    """The format in which the log driver ``driver`` writes."""
    return _FORMATS[driver]
