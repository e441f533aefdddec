"""Writing a container's log in the format of Docker's json-file driver, rotated by size.

One JSON object per line: ``{"log": "text\\n", "stream": "stdout", "time": "2026-01-02T03:04:05.000000006Z"}``
(Docker documentation, "JSON File logging driver"). Lines of more than 16 KiB are cut, as Docker cuts them.
"""

from __future__ import annotations

import os
import time
from _json import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LINE = 16 * 1024
_NAMES = {1: "stdout", 2: "stderr"}


class Log:
    """The log at ``path``; at ``max_size`` bytes it becomes ``path.1``, and so on up to ``max_file`` files.

    A log that cannot be written (no space, say) is given up piece by piece: it must never stop the container.
    """

    def __init__(self, path: str, max_size: int, max_file: int) -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._partial: dict[int, bytes] = {}
        self._second = -1
        self._stamp = ""
        self._open()

    def write(self, stream: int, data: bytes) -> None:
        """Log what the container wrote on its stdout (1) or stderr (2)."""
        data = self._partial.pop(stream, b"") + data
        lines = data.split(b"\n")
        rest = lines.pop()
        whole = [line + b"\n" for line in lines]
        while len(rest) >= _LINE:
            whole.append(rest[:_LINE])
            rest = rest[_LINE:]
        if rest:
            self._partial[stream] = rest
        if whole:
            self._append(stream, whole)

    def close(self) -> None:
        for stream, rest in self._partial.items():
            self._append(stream, [rest])
        os.close(self._fd)

    def _append(self, stream: int, lines: list[bytes]) -> None:
        tail = f',"stream":"{_NAMES[stream]}","time":"{self._now()}"}}\n'
        pieces = (line[at : at + _LINE] for line in lines for at in range(0, len(line), _LINE))
        text = "".join(
            f'{{"log":{encode_basestring(each.decode("utf-8", "replace"))}{tail}' for each in pieces
        ).encode()
        try:
            if os.write(self._fd, text) < len(text):
                os.ftruncate(self._fd, self._size)  # half a line would spoil the next one too
                return
            self._size += len(text)
            if self._max_size and self._size >= self._max_size:
                self._rotate()
        except OSError:
            return

    def _now(self) -> str:
        second, fraction = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{fraction:09d}Z"

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        if self._max_file <= 1:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        for number in range(self._max_file - 1, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            try:
                os.rename(older, f"{self._path}.{number}")  # noqa: PTH104
            except FileNotFoundError:
                continue
        older_fd = self._fd
        self._open()  # first the new one: a number that was closed may soon be a client's
        os.close(older_fd)


def open_log(wanted: dict[str, Any] | None) -> Log | None:
    """The log that an order asks for: ``{"path", "max_size" in bytes, "max_file"}``, or None for none."""
    return Log(wanted["path"], wanted["max_size"], wanted["max_file"]) if wanted else None
