"""Bodies of requests, typed: msgspec checks names, types and ranges of plain values; one sentence says what is wrong.

As Docker does, unknown keys are ignored, and null means "not given".
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from sampan.errors import Invalid

T = TypeVar("T")

KEPT_NULLS = frozenset(
    {"PortBindings", "PortBindingsAdd", "PortBindingsRemove", "ExposedPorts", "Volumes", "EndpointsConfig"}
)
"""Mappings in which a key with null still says something."""


def read(body: Any, kind: type[T], where: str = "") -> T:
    """``body`` as ``kind``. Raises ``Invalid`` with one sentence that names the key."""
    if not isinstance(body, dict):
        raise Invalid(f"{where or 'the request'} must be a JSON object")
    check_text(body, where)
    try:
        return msgspec.convert(_without_nulls(body), kind)
    except msgspec.ValidationError as error:
        raise Invalid(_sentence(str(error), where)) from None


def check_text(value: Any, where: str) -> None:
    """Refuse text that neither the kernel nor the database could keep: NUL characters and lone surrogates."""
    if isinstance(value, str):
        if "\0" in value:
            raise Invalid(f"{where or 'the request'} contains a NUL character")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Invalid(f"{where or 'the request'} contains text that is not valid Unicode")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, where)
            check_text(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list | tuple):
        for item in value:
            check_text(item, where)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item if key in KEPT_NULLS else _without_nulls(item) for key, item in value.items() if item is not None
        }
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _sentence(text: str, where: str) -> str:
    what, _, path = text.partition(" - at `")
    path = path.rstrip("`").removeprefix("key in ").removeprefix("$").lstrip(".")
    path = ".".join(part for part in (where, path) if part)
    what = re.sub(r"^Expected (.*), got (.*)$", r"must be \1, not \2", what)
    what = what.replace("Expected", "must be").replace("`", "")
    return f"invalid value for {path or 'the request'}: {what}"
