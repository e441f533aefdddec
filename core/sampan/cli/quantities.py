"""Sizes, numbers and durations as people write them on a command line.

Sizes are go-units' ``RAMInBytes``: 1024-based, ``512m``, ``1.5GiB``; durations are Go's: ``1h30m``, ``500ms``.
Each function raises ValueError with a sentence.
"""

from __future__ import annotations

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def integer(text: str) -> int:
    try:
        return int(text, 10)
    except ValueError:
        raise ValueError("it is not a whole number") from None


def size(text: str) -> int:
    """Bytes. ``-1`` is kept, it means unlimited to Docker."""
    if text == "-1":
        return -1
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(digits) :].strip().lower().removesuffix("b").removesuffix("i")
    try:
        number = float(digits)
    except ValueError:
        raise ValueError("write a size such as 512m or 1.5g") from None
    if unit not in _POWERS or number < 0:
        raise ValueError("write a size such as 512m or 1.5g")
    return int(number * 1024 ** _POWERS[unit])


def cpus(text: str) -> int:
    """Processors as Docker's NanoCpus."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError("write a number of processors such as 0.5 or 2") from None
    if not 0 <= number < 1_000_000:
        raise ValueError("write a number of processors such as 0.5 or 2")
    return round(number * 1_000_000_000)


def duration(text: str) -> int:
    """Nanoseconds of a Go duration."""
    rest, total = text.lstrip("+-"), 0.0
    if not rest:
        raise ValueError("write a duration such as 30s or 1h30m")
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        if not unit and number == "0" and not rest:
            return 0
        try:
            total += float(number) * _SECONDS[unit]
        except (ValueError, KeyError):
            raise ValueError("write a duration such as 30s or 1h30m") from None
    return round(total * 1e9) * (-1 if text.startswith("-") else 1)
