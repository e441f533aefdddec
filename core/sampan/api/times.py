"""Times as the Engine API writes and reads them, and the durations that people read ("3 weeks")."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

from sampan.errors import Invalid

NEVER = "0001-01-01T00:00:00Z"  # how Go writes a time that never was
SECOND = 1_000_000_000

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?")
_UNITS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
_PART = re.compile(r"(\d{1,12}(?:\.\d{0,9})?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_PARTIAL = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?")
_UNIX = re.compile(r"(-?\d{1,11})(?:\.(\d{1,9}))?")


@lru_cache(4096)  # lists ask for the same few again and again
def nanoseconds(text: str, what: str = "time") -> int:
    """Seconds since 1970 with an optional fraction, or RFC 3339, as nanoseconds. ``Invalid`` names ``what``."""
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))
    if match := _RFC3339.fullmatch(text):
        try:
            moment = datetime.fromisoformat(match[1] + (match[3] or "Z").replace("Z", "+00:00"))
        except ValueError:
            moment = None
        if moment:
            return int(moment.timestamp()) * SECOND + int((match[2] or "").ljust(9, "0"))
    raise Invalid(f"{what!r} must be seconds since 1970 or a time like 2030-01-31T12:00:00Z, not {text[:60]!r}")


def moment(text: str, what: str = "time") -> int:
    """As :func:`nanoseconds`; also so long ago (``1h30m``), and without the time of day or the zone, which is ours then
    (moby/api/types/time, ``GetTimestamp``)."""
    if text and _DURATION.fullmatch(text):
        ago = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return time.time_ns() - round(ago)
    if _PARTIAL.fullmatch(text):
        try:
            return int(datetime.fromisoformat(text).astimezone().timestamp()) * SECOND
        except (ValueError, OverflowError):
            raise Invalid(f"{what!r} is not a day that there is: {text!r}") from None
    return nanoseconds(text, what)


def seconds(text: str) -> int:
    """Unix seconds of one of the engine's own times, 0 for never."""
    return nanoseconds(text) // SECOND if text else 0


def rfc3339(nanos: int) -> str:
    moment = datetime.fromtimestamp(nanos // SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos % SECOND:09}Z"


def or_never(text: str) -> str:
    return text or NEVER


def in_words(seconds: float) -> str:
    """A duration as Docker says it: ``Less than a second``, ``About a minute``, ``5 hours``."""
    whole = max(0, int(seconds))
    hours = int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < 3600:
        return "About a minute" if whole < 120 else f"{whole // 60} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, size, unit in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 730, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{whole // 3600 // 24 // 365} years"
