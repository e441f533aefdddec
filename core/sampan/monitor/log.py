"""Writing a container's log in the format of Docker's json-file driver, rotated by size.

One JSON object per line: ``{"log": "text\\n", "stream": "stdout", "time": "2026-01-02T03:04:05.000000006Z"}``
(Docker documentation, "JSON File logging driver"). Lines of more than 16 KiB are cut, as Docker cuts them.

A container may write 200 MB/s, two bytes to a line: what was read is worked on 16 KiB at a time, all its lines at
once, by calls that run in C.
"""

from __future__ import annotations

import os
import struct
import time
from _json import encode_basestring

from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sampan.monitor.compressing import Compressor
    from sampan.monitor.ring import Ring

_LINE = 16 * 1024
_NAMES = {1: "stdout", 2: "stderr"}
_MARK = b"\xff"  # ends an entry before that is written in full: no UTF-8 has this byte
_PLAIN = bytes(set(range(0x20, 0x7F)) - set(b'"\\')) + b"\n"  # lines of nothing else are in JSON what they are
_VECTORS = 64
_HEAD = b'{"log":"'


class Log:
    """The log at ``path``; at ``max_size`` bytes it becomes ``path.1``, and so on up to ``max_file`` files.

    ``extra`` is JSON that each entry gets between its stream and its time. A log that cannot be written (no space,
    say) is given up piece by piece: it must never stop the container. ``compressor`` takes care of older files.
    """

    compressor: Compressor | None = None

    def __init__(self, path: str, max_size: int, max_file: int, extra: str = "") -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._extra = extra
        self._partial: dict[int, bytes] = {}
        self._second = -1
        self._stamp = ""
        self._open()

    def write(self, stream: int, data: bytes) -> None:
        """Log what the container wrote on its stdout (1) or stderr (2)."""
        now = time.time_ns()
        rest = self._partial.pop(stream, b"")
        if rest:
            data = rest + data
        at, end = 0, len(data)
        while at < end:
            cut = data.rfind(b"\n", at, at + _LINE) + 1
            if not cut:
                if end - at < _LINE:
                    self._partial[stream] = data[at:]
                    return
                cut = at + _LINE
            self._append(self.entries(stream, data[at:cut], now))
            at = cut

    def mark(self, fd: int) -> None:
        """Tell a pipe's writing end how far the log is now: the inode and the size of its file, 8 bytes each, and what
        was said since the last entry, in Docker's framing. Closes ``fd``."""
        told = struct.pack("QQ", os.fstat(self._fd).st_ino, self._size)
        for stream, rest in self._partial.items():
            told += struct.pack(">BxxxI", stream, len(rest)) + rest
        with suppress(OSError):
            os.write(fd, told)  # it fits: a pipe holds more than two unfinished lines
        os.close(fd)

    def close(self) -> None:
        for stream, rest in self._partial.items():
            self._append(self.entries(stream, rest, time.time_ns()))
        os.close(self._fd)
        if self.compressor:
            self.compressor.wait()

    def entries(self, stream: int, text: bytes, now: int) -> list[bytes]:
        """Lines, or a part of one, as entries of nanosecond ``now``: pieces of what is to be written."""
        tail = f'","stream":"{_NAMES[stream]}"{self._extra},"time":"{self._time(now)}"}}\n'.encode()
        newline, mark = b"\\n", b"\n"
        ascii = text.isascii()
        if not ascii or text.translate(None, _PLAIN):
            newline, mark = b"", _MARK
            # As Latin-1, one byte is one character: what is escaped is ASCII, and the rest passes unseen.
            known = text if ascii else text.decode("utf-8", "replace").encode()
            text = encode_basestring(known.replace(b"\n", b"\n" + mark).decode("latin-1")).encode("latin-1")[1:-1]
        lines = text.removesuffix(mark)
        last = newline if len(lines) < len(text) else b""
        return [_HEAD, lines.replace(mark, newline + tail + _HEAD), last, tail]

    def separate(self, pieces: list[bytes]) -> Iterator[bytes]:
        """The entries in what :meth:`entries` gave, one by one."""
        return iter(b"".join(pieces).splitlines(keepends=True))

    def _append(self, pieces: list[bytes]) -> None:
        with suppress(OSError):
            if not self._max_size or self._size + sum(map(len, pieces)) < self._max_size:
                self._put(pieces if len(pieces) <= _VECTORS else [b"".join(pieces)])
                return
            fitting: list[bytes] = []
            room = self._max_size - self._size
            for entry in self.separate(pieces):
                fitting.append(entry)
                room -= len(entry)
                if room <= 0:
                    self._put([b"".join(fitting)])
                    self._rotate()
                    fitting, room = [], self._max_size - self._size
            self._put([b"".join(fitting)])

    def _put(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        if os.writev(self._fd, pieces) < size:
            os.ftruncate(self._fd, self._size)  # half a line would spoil the next one too
        else:
            self._size += size

    def _time(self, now: int) -> str:
        second, fraction = divmod(now, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{fraction:09d}Z"

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        """Whoever still reads the file that goes reads it to its end: it is never emptied in place."""
        with suppress(OSError):
            if self.compressor:
                self.compressor.stop()
            for number in range(self._max_file - 1, 0, -1):
                older = f"{self._path}.{number - 1}" if number > 1 else self._path
                if self.compressor:
                    self.compressor.shift(older, f"{self._path}.{number}")
                    continue
                with suppress(FileNotFoundError):
                    os.rename(older, f"{self._path}.{number}")  # noqa: PTH104
            if self._max_file <= 1:
                os.unlink(self._path)  # noqa: PTH108
            older_fd = self._fd
            self._open()  # first the new one: a number that was closed may soon be a client's
            os.close(older_fd)
            if self.compressor:
                self.compressor.begin()


def open_log(wanted: dict[str, Any] | None) -> Log | Ring | None:
    """The log that an order asks for, or None for none: ``{"driver": "json-file" or "local", "path", "max_size" in
    bytes, "max_file", "extra": JSON (none), "buffer": bytes that may wait for a slow disk (0: the container waits),
    "compress": older files are compressed}``.
    """
    if not wanted:
        return None
    kind = Log
    if wanted.get("driver") == "local":
        from sampan.monitor.locallog import LocalLog

        kind = LocalLog
    log = kind(wanted["path"], wanted["max_size"], wanted["max_file"], wanted.get("extra", ""))
    if wanted.get("compress") and wanted["max_file"] > 1:
        from sampan.monitor.compressing import Compressor

        log.compressor = Compressor(wanted["path"], wanted["max_file"])
    if wanted.get("buffer"):
        from sampan.monitor.ring import Ring

        return Ring(log, wanted["buffer"])
    return log
