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
    seen: list[dict[str, Any]] = []
    for message in messages(response):
        if len(seen) < 10_000:
            seen.append(message)
        if text := _text(message, quiet=quiet, moving=moving):
            out.write(text)
            out.flush()
    return seen


def _text(message: dict[str, Any], *, quiet: bool, moving: bool) -> str:
    if "stream" in message:
        return str(message["stream"])
    status = str(message.get("status", ""))
    if not status or quiet:
        return ""
    if "progress" in message or message.get("progressDetail"):
        if not moving:
            return ""
        return f"\r\x1b[K{_name(message)}{status} {message.get('progress') or _amount(message)}"
    return f"{_clear(moving)}{_name(message)}{status}\n"


def _clear(moving: bool) -> str:
    return "\r\x1b[K" if moving else ""


def _name(message: dict[str, Any]) -> str:
    return f"{message['id']}: " if message.get("id") else ""


def _amount(message: dict[str, Any]) -> str:
    from sampan.cli.output import size

    detail = message.get("progressDetail") or {}
    current, total = detail.get("current") or 0, detail.get("total") or 0
    return f"{size(current)}/{size(total)}" if total else size(current)
