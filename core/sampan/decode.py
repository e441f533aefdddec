"""From plain data (what YAML gives) to typed structs, with errors that say where, what, and what would be right.

msgspec decides what fits; this module walks along with it, because msgspec names neither the key of a mapping that
is at fault nor the value that it found.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from sampan.errors import Invalid
from sampan.quantities import Notation

S = TypeVar("S", bound=msgspec.Struct)

WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


class InvalidKey(Invalid):
    """``path`` is where in the data: ``("network", "options", "bridge", "mtu")``."""

    def __init__(self, path: Sequence[str | int], sentence: str) -> None:
        self.path = tuple(path)
        super().__init__(f"{dotted(path)}: {sentence}" if path else sentence)


def dotted(path: Sequence[str | int]) -> str:
    """``network.default_address_pools[0].base``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def struct(data: Any, kind: type[S], path: Sequence[str | int] = ()) -> S:
    """``data`` as a struct of type ``kind``; ``path`` is where the data stands. Raises :class:`InvalidKey`.

    A key without a value (None) means the default, as someone who commented out a section's content expects.
    """
    if not isinstance(data, dict):
        raise _wrong(path, data, kind)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in data:
        if key not in fields:
            raise InvalidKey([*path, str(key)], unknown(str(key), list(fields), "key"))
    values = {
        fields[key].name: _value(value, fields[key].type, [*path, key])
        for key, value in data.items()
        if value is not None or fields[key].required
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise InvalidKey(path, str(error)) from None
    except TypeError:
        missing = next(name for name, field in fields.items() if field.required and name not in data)
        raise InvalidKey([*path, missing], f"is missing; expected {_allowed(fields[missing].type)}") from None


def unknown(name: str, known: Sequence[str], noun: str) -> str:
    """The sentence for a name that nobody knows, with the likely one first if there is one."""
    if not known:
        return f"unknown {noun}; none are known here"
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {noun}; {hint}known here: {', '.join(sorted(known))}"


def _value(value: Any, kind: Any, path: list[str | int]) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct(value, kind, path)
    if origin is list and isinstance(value, list):
        return [_value(item, args[0], [*path, index]) for index, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {_value(key, args[0], path): _value(item, args[1], [*path, str(key)]) for key, item in value.items()}
    notation = _notation(kind)
    try:
        return notation.parse(value) if notation else msgspec.convert(value, kind)
    except ValueError:  # msgspec.ValidationError is one
        raise _wrong(path, value, kind) from None


def _notation(kind: Any) -> Notation | None:
    found = [extra for extra in getattr(kind, "__metadata__", ()) if isinstance(extra, Notation)]
    return found[0] if found else None


def _wrong(path: Sequence[str | int], value: Any, kind: Any) -> InvalidKey:
    shown = (
        {True: "true", False: "false"}[value]
        if isinstance(value, bool)
        else "nothing"
        if value is None
        else repr(value)
    )
    return InvalidKey(path, f"{shown} is not allowed; expected {_allowed(kind)}")


def _allowed(kind: Any) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if notation := _notation(kind):
        return notation.allowed
    if origin is Annotated:
        return _allowed(args[0]) + _bounds(args[1])
    if origin in (Union, UnionType):
        return " or ".join("nothing" if arg is NoneType else _allowed(arg) for arg in args)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a mapping with the keys " + ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
    return WORDS.get(origin or kind) or str(kind)


def _bounds(meta: msgspec.Meta) -> str:
    low, high = meta.ge, meta.le
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    if high is not None:
        return f" of at most {high}"
    return f" that matches {meta.pattern}" if meta.pattern else ""
