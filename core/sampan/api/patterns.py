"""Patterns of names as Go's ``path.Match`` reads them: ``*`` and ``?`` stop at slashes, ``[a-z]`` and ``[^a-z]`` are
one character, a backslash takes away what the next character means.

https://pkg.go.dev/path#Match
"""

from __future__ import annotations

import re

from sampan.errors import Invalid

Pattern = re.Pattern[str]

_ONE = r"(?:\\.|[^\\\]-])"
_RANGE = re.compile(rf"({_ONE})(?:-({_ONE}))?", re.DOTALL)
_TOKEN = re.compile(
    rf"(?P<many>\*+)|(?P<any>\?)|\[(?P<not>\^?)(?P<ranges>(?:{_ONE}(?:-{_ONE})?)+)\]|(?P<plain>\\.|[^\\\[])", re.DOTALL
)


def compiled(pattern: str) -> Pattern:
    """``Invalid``, in Docker's words, if it is none."""
    found, at = "", 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise Invalid(f"syntax error in pattern: {pattern!r} is not such as repo*, [a-z]*/name or name:1.?")
        found += _regular(token)
        at = token.end()
    return re.compile(found, re.DOTALL)


def _regular(token: re.Match[str]) -> str:
    if token["many"]:
        return "[^/]*"
    if token["any"]:
        return "[^/]"
    if token["plain"]:
        return re.escape(token["plain"][-1])
    ends = [(low[-1], (high or low)[-1]) for low, high in _RANGE.findall(token["ranges"])]
    ranges = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ends if low <= high)
    if not ranges:  # Go takes such a range, and nothing is in it
        return "." if token["not"] else "(?!)"
    return f"[{token['not']}{ranges}]"
