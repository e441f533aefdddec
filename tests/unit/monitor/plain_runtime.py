"""A runtime's monitor half in a few lines: its containers are plain processes, with no isolation at all.

``order`` is ``{"terminal": bool, "args": [str, …], "marks": a directory to leave marks in}``.
"""

from __future__ import annotations

import os
import pty
import termios
from typing import Any

from sampan.errors import StartFailed

SUBREAPER = True


def prepare() -> None:
    pass


def start(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[int, int]:
    assert root >= 0
    return exec(order, stdio)


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int]:
    if order["args"] == ["nothing"]:
        raise StartFailed("there is nothing to start", 127)
    if order["args"] == ["die"]:
        os._exit(1)
    if order["args"] == ["bug"]:
        raise RuntimeError("a bug in a runtime")
    pid, terminal = pty.fork() if order["terminal"] else (os.fork(), -1)
    if pid == 0:
        if order["terminal"] and order["size"]:  # before the program can ask
            termios.tcsetwinsize(0, order["size"])
        for number, fd in enumerate(stdio):
            if fd >= 0:
                os.dup2(fd, number)
        os.closerange(3, 1024)
        os.execvp(order["args"][0], order["args"])  # noqa: S606
    return pid, terminal


def ended(order: dict[str, Any]) -> bool:
    return "starved" in order["args"]


def finish(order: dict[str, Any]) -> None:
    os.close(os.open(f"{order['marks']}/finished", os.O_CREAT | os.O_WRONLY))
