"""Waiting for changes of a directory without polling: inotify(7)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE = 0x2, 0x40, 0x80, 0x100
IN_DELETE_SELF, IN_ONLYDIR = 0x400, 0x01000000

_libc = ctypes.CDLL(None, use_errno=True)
_BUFFER = 64 * 1024


class Watch:
    """Watches one directory. ``fileno()`` is readable when something happened; :meth:`drain` makes it quiet again."""

    def __init__(self, directory: Path, mask: int = IN_MODIFY | IN_MOVED_TO | IN_CREATE) -> None:
        self._fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise _failure("inotify")
        if _libc.inotify_add_watch(self._fd, os.fsencode(directory), mask | IN_ONLYDIR) < 0:
            error = _failure(str(directory))
            self.close()
            raise error

    def fileno(self) -> int:
        return self._fd

    def drain(self) -> None:
        """Read all events; what they were does not matter."""
        try:
            while len(os.read(self._fd, _BUFFER)) > _BUFFER // 2:
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
