"""The progress of pulls: lines that are written over on a terminal, and plain ones elsewhere."""

from __future__ import annotations

import io
import json
from typing import Any, cast

import pytest

from sampan.cli.failures import Refused
from sampan.cli.progress import follow

MESSAGES: list[dict[str, Any]] = [
    {"status": "Pulling from a", "id": "1"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "one"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "two"},
    {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "progress": "[=>]", "id": "one"},
    {"status": "Pull complete", "progressDetail": {}, "id": "two"},
    {"progressDetail": {}, "aux": {"Tag": "1"}},
    {"status": "Digest: sha256:1"},
]


class Answer:
    """What a daemon has answered, as far as this looks at it."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = messages

    def lines(self) -> list[bytes]:
        return [json.dumps(each).encode() for each in self._messages]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO, *, quiet: bool = False) -> str:
    follow(cast(Any, Answer(MESSAGES)), quiet=quiet, out=out)
    return out.getvalue()


def test_lines_for_files() -> None:
    lines = ["1: Pulling from a", "one: Pulling fs layer", "two: Pulling fs layer", "two: Pull complete"]
    assert shown(io.StringIO()) == "\n".join([*lines, "Digest: sha256:1", ""])
    assert shown(io.StringIO(), quiet=True) == ""


def test_lines_that_are_written_over() -> None:
    """A terminal's screen after all of it, with the movements of the cursor carried out."""
    screen: list[str] = [""]
    row = 0
    for part in shown(Terminal()).replace("\x1b[", "\x1b").split("\x1b"):
        text = part
        if part[1:2] in ("A", "B", "K") and part[0].isdigit():
            row += {"A": -int(part[0]), "B": int(part[0]), "K": 0}[part[1]]
            screen[row] = "" if part[1] == "K" else screen[row]
            text = part[2:]
        for letter in text.replace("\r", ""):
            if letter == "\n":
                row += 1
                screen += [""] * (row + 1 - len(screen))
            else:
                screen[row] += letter
    assert screen == ["1: Pulling from a", "one: Downloading [=>]", "two: Pull complete", "Digest: sha256:1", ""]


def test_an_error_in_the_stream() -> None:
    with pytest.raises(Refused, match="no such thing"):
        follow(cast(Any, Answer([{"errorDetail": {"message": "no such thing"}, "error": "x"}])), out=io.StringIO())
