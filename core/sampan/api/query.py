"""The query string, read with types: flags, numbers, filters. What does not fit is ``Invalid`` with a sentence."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from sampan.api.times import moment
from sampan.errors import Invalid

_FALSE = frozenset({"", "0", "no", "false", "none"})  # everything else is true, as in dockerd's httputils.BoolValue
_FLAGS = frozenset({"all", "dangling", "is-automated", "is-official", "is-task"})  # filters that are true or false


class Query:
    """Parameters by name; given twice, the first one counts, except in ``every``."""

    def __init__(self, text: str) -> None:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000) if text else []
        except ValueError:
            raise Invalid("the query string of the URL is not text in UTF-8 with at most 1000 parameters") from None
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, (default,))[0]

    def every(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def needed(self, name: str) -> str:
        if value := self.text(name):
            return value
        raise Invalid(f"the parameter {name!r} is missing")

    def flag(self, name: str, default: bool = False) -> bool:
        if name not in self._values:
            return default
        return self._values[name][0].strip().lower() not in _FALSE

    def number(self, name: str) -> int | None:
        """A whole number, None if it is not given."""
        text = self.text(name).strip()
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise Invalid(f"the parameter {name!r} must be a whole number, not {text!r}") from None

    def size(self, name: str) -> int:
        """A terminal's height (``h``) or width (``w``) in characters, 65535 at most."""
        text = self.text(name)
        wrong = f'invalid resize {"height" if name == "h" else "width"} "{text}"'
        if not re.fullmatch(r"-?[0-9]+", text, re.ASCII):
            raise Invalid(f"{wrong}: invalid syntax")
        if text.startswith("-") or len(text) > 10 or int(text) >= 1 << 32:
            raise Invalid(f"{wrong}: value out of range")
        return min(int(text), 65535)

    def moment(self, name: str) -> int | None:
        """A point in time, in nanoseconds since 1970; None if it is not given, or 0."""
        text = self.text(name)
        return moment(text, name) or None if text else None

    def filters(self, *known: str) -> Filters:
        return Filters(self.text("filters"), known)


class Filters:
    """The ``filters`` parameter: JSON in either of Docker's styles, ``{"name": {"x": true}}`` or ``{"name": ["x"]}``.

    Several values of one filter are alternatives, except for labels; several filters must all match.
    """

    def __init__(self, text: str, known: tuple[str, ...]) -> None:
        self._values = _parse(text) if text else {}
        for name in self._values:
            if name not in known:
                raise Invalid(
                    f"invalid filter '{name}': here one of {', '.join(sorted(known)) or 'none'} is understood"
                )
        for name in _FLAGS & self._values.keys():  # a wrong one is told though there may be nothing to choose from
            self.flag(name)
        self.first_until()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def get(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def flag(self, name: str) -> bool | None:
        """A filter that is true or false; None if it is not given."""
        values = self.get(name)
        if not values:
            return None
        if len(values) == 1 and values[0].lower() in ("1", "true", "t"):
            return True
        if len(values) == 1 and values[0].lower() in ("0", "false", "f"):
            return False
        raise Invalid(f"invalid filter '{name}=[{' '.join(values)[:80]}]': true or false is expected")

    def until(self) -> int | None:
        """The moment of the filter ``until``, in nanoseconds since 1970: a time, or so long ago; None without it."""
        if len(self.get("until")) > 1:
            raise Invalid("more than one until filter specified")
        return self.first_until()

    def first_until(self) -> int | None:
        """The same where several are allowed: the earliest."""
        return min([_until(text) for text in self.get("until")], default=None)

    def labels(self, have: dict[str, str] | None) -> bool:
        """Do these labels have every ``label`` (``key`` or ``key=value``) and none of those under ``label!``?"""
        found = have or {}
        return all(_has(found, want) for want in self.get("label")) and not any(
            _has(found, unwanted) for unwanted in self.get("label!")
        )


def _until(text: str) -> int:
    try:
        return moment(text, "until")
    except Invalid:
        what = f'failed to parse value as time or duration: "{text[:60]}"'
        raise Invalid(f"{what} is neither like 24h nor like 2030-01-31T12:00:00Z") from None


def _has(labels: dict[str, str], want: str) -> bool:
    key, given, value = want.partition("=")
    return key in labels and (not given or labels[key] == value)


def _parse(text: str) -> dict[str, list[str]]:
    try:
        data: Any = msgspec.json.decode(text)
        if not isinstance(data, dict):
            raise ValueError
        return {name: _values(value) for name, value in data.items() if value}
    except (ValueError, msgspec.MsgspecError):
        raise Invalid('the parameter "filters" must be a JSON object such as {"name": ["x"]}') from None


def _values(value: Any) -> list[str]:
    values = [key for key, on in value.items() if on] if isinstance(value, dict) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise ValueError
    return values
