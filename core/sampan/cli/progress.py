"""The progress that the daemon tells while it loads, imports or pulls: lines of JSON, made readable."""

from __future__ import annotations

import sys

from sampan.cli.client import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from sampan.cli.http import Response


def follow(response: Response, *, quiet: bool = False, out: TextIO | None = None) -> list[dict[str, Any]]:
    """Shows a stream of progress and returns it. ``quiet`` leaves out what is only progress, not a result.

    Raises Refused for an error in the stream.
    """
    out = out or sys.stdout
    moving = not quiet and out.isatty()
    lines = _Lines()
    seen: list[dict[str, Any]] = []
    for message in messages(response):
        if len(seen) < 10_000:
            seen.append(message)
        text = _text(message, quiet=quiet, moving=moving)
        if moving and "status" in message:
            text = lines.place(message, text)
        if text:
            out.write(text)
            out.flush()
    return seen


class _Lines:
    """On a terminal, everything that has an id has a line of its own, which is written over."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._count = 0

    def place(self, message: dict[str, Any], text: str) -> str:
        """``text`` with the movements of the cursor around it."""
        ident = message.get("id")
        if not ident or "progressDetail" not in message:
            self._lines, self._count = {}, 0
            return text
        if ident not in self._lines:
            self._lines[ident] = self._count
            self._count += 1
            return text
        up = self._count - self._lines[ident]
        if up >= _height():
            return ""  # it has left the screen
        line = text.rstrip("\n")
        return f"\x1b[{up}A\x1b[2K\r{line}\x1b[{up}B\r"


def _height() -> int:
    from sampan.cli.terminal import size

    return (size() or (24, 80))[0]


def _text(message: dict[str, Any], *, quiet: bool, moving: bool) -> str:
    if "stream" in message:
        return str(message["stream"])
    status = str(message.get("status", ""))
    if not status or quiet:
        return ""
    if "progress" in message or message.get("progressDetail"):
        if not moving:
            return ""
        return f"{_name(message)}{status} {message.get('progress') or _amount(message)}\n"
    return f"{_name(message)}{status}\n"


def _name(message: dict[str, Any]) -> str:
    return f"{message['id']}: " if message.get("id") else ""


def _amount(message: dict[str, Any]) -> str:
    from sampan.cli.output import size

    detail = message.get("progressDetail") or {}
    current, total = detail.get("current") or 0, detail.get("total") or 0
    return f"{size(current)}/{size(total)}" if total else size(current)
