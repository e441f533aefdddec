"""Telling a client how far things are, in the messages of Docker's ``JSONMessage``, at a pace that it can bear.

https://pkg.go.dev/github.com/docker/docker/pkg/jsonmessage
"""

from __future__ import annotations

import threading
import time
from typing import Any

Message = dict[str, Any]

PACE = 0.1  # seconds between two messages about the same download


class Board:
    """Messages on their way to one client: put up by whoever works, taken by the thread that writes to the client.

    Nobody waits for a slow client: of what is only progress, the last word is kept. Thread-safe.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Message] = []
        self._moving: dict[tuple[str, str], Message] = {}
        self._closed = False

    def put(self, message: Message) -> None:
        with self._changed:
            key = (message.get("id", ""), message.get("status", ""))
            if message.get("progressDetail") and (same := self._moving.get(key)) is not None:
                same.update(message)
                return
            message = dict(message)
            if message.get("progressDetail"):
                self._moving[key] = message
            self._waiting.append(message)
            self._changed.notify()

    def say(self, status: str, ident: str = "") -> None:
        self.put({"status": status, **({"id": ident} if ident else {})})

    def take(self) -> list[Message]:
        """What is new, as soon as there is something; nothing when it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            taken, self._waiting = self._waiting, []
            self._moving.clear()
            return taken

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()


class Line:
    """One layer's line: ``4f53cda18c2b: Downloading [==>   ]  1.2MB/6MB``."""

    def __init__(self, board: Board, ident: str) -> None:
        self._board = board
        self._ident = ident
        self._next = 0.0

    def say(self, status: str) -> None:
        self._board.put({"status": status, "progressDetail": {}, "id": self._ident})

    def move(self, status: str, current: int, total: int) -> None:
        """At most ten times a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PACE
        detail = {"current": current, "total": total}
        self._board.put(
            {"status": status, "progressDetail": detail, "progress": bar(current, total), "id": self._ident}
        )


def bar(current: int, total: int) -> str:
    """What clients of old show as it is: ``[=====>     ]  1.2MB/6MB``."""
    done = min(50, current * 50 // total) if total else 0
    drawn = "=" * done + (">" if done < 50 else "")
    return f"[{drawn:<50}]  {_size(current):>6}/{_size(total)}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g}{unit}"
        count /= 1000
    return f"{count:.4g}TB"
