"""The functions that a ``--format`` template can call: Go's own and Docker's, and how Go prints values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


def shown(value: Any) -> str:
    """A value as Go's fmt prints it with ``%v``."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{shown(key)}:{shown(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(shown, value))}]"
    return str(value)


def _json(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if not callable(item)}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        elif value is None:
            raise ValueError("index of untyped nil")
        else:
            raise ValueError(f"index {shown(key)} is out of range")
    return value


def _printf(form: str, *values: Any) -> str:
    import re

    rest = list(values)  # a copy that is used up

    def one(found: re.Match[str]) -> str:
        flags, verb = found[1], found[2]
        if verb == "%":
            return "%"
        value = rest.pop(0)
        if verb == "q":
            value, verb = _json(str(value)), "s"
        if verb in "sv":
            value, verb = shown(value), "s"
        return str(f"%{flags}{verb}" % value)

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([a-zA-Z%])", one, form)


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    return value[start:end]


def _equal(value: Any, *others: Any) -> bool:
    return value in others


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda left, right: left != right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "index": _index,
    "slice": _slice,
    "len": lambda value: len(value),
    "print": lambda *values: "".join(map(shown, values)),
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": _printf,
    "json": _json,
    "join": lambda items, between: between.join(map(shown, items or [])),
    "split": lambda text, between: str(text).split(between),
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "title": lambda text: str(text).title(),
    "pad": _pad,
    "truncate": lambda text, width: str(text)[:width],
}
