"""Words of a Dockerfile: quotes, backslashes and ``$NAME``, as a shell has them, but for all that a shell can run.

https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from sampan.errors import Invalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_MODIFIER = re.compile(r":?[-+?]")


def word(text: str, variables: Mapping[str, str]) -> str:
    """All of ``text`` as one word: spaces stay. ``Invalid`` if a quote or a brace is left open."""
    return _Reader(text, variables).read("")


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """``text`` split at spaces that are not quoted; what comes of a variable is not split. ``Invalid`` as above."""
    reader = _Reader(text, variables)
    found = []
    while reader.skip_spaces():
        found.append(reader.read(" \t"))
    return found


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._at = 0
        self._variables = variables

    def skip_spaces(self) -> bool:
        """Is there more?"""
        rest = self._text[self._at :].lstrip(" \t")
        self._at = len(self._text) - len(rest)
        return bool(rest)

    def read(self, ends: str) -> str:
        """Up to one of the characters in ``ends``, which is left there, or to the end of the text."""
        parts = []
        while (character := self._peek()) and character not in ends:
            self._at += 1
            parts.append(self._piece(character))
        return "".join(parts)

    def _piece(self, character: str) -> str:
        if character == "'":
            return self._single()
        if character == '"':
            return self._double()
        if character == "$":
            return self._variable()
        return self._next() if character == "\\" else character

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            self._wrong("unexpected end of statement while looking for matching single-quote")
        found, self._at = self._text[self._at : end], end + 1
        return found

    def _double(self) -> str:
        parts = []
        while (character := self._next()) != '"':
            if not character:
                self._wrong("unexpected end of statement while looking for matching double-quote")
            if character == "\\":
                parts.append(self._next() if self._peek() in ('"', "$", "\\") else character)
            else:
                parts.append(self._variable() if character == "$" else character)
        return "".join(parts)

    def _variable(self) -> str:
        """What follows a dollar sign."""
        braced = self._peek() == "{"
        name = _NAME.match(self._text, self._at + braced)
        if name is None:
            if braced:
                self._wrong("syntax error: bad substitution")
            return "$"
        self._at = name.end()
        return self._braced(name[0]) if braced else self._variables.get(name[0], "")

    def _braced(self, name: str) -> str:
        """``${NAME}``, ``${NAME:-otherwise}``, ``${NAME:+if}``, ``${NAME:?sentence}``; without colon, empty is fine."""
        value = self._variables.get(name)
        modifier = _MODIFIER.match(self._text, self._at)
        if modifier is None:
            if self._next() != "}":
                self._wrong("unsupported modifier in substitution")
            return value or ""
        self._at = modifier.end()
        other = self.read("}")
        if self._next() != "}":
            self._wrong("syntax error: missing '}'")
        there = bool(value) if modifier[0].startswith(":") else value is not None
        if modifier[0].endswith("?") and not there:
            self._wrong(f"{name}: {other or 'not set'}")
        if modifier[0].endswith("+"):
            return other if there else ""
        return (value or "") if there else other

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def _wrong(self, why: str) -> NoReturn:
        raise Invalid(f'failed to process "{self._text}": {why}')
