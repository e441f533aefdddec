"""Times as the records keep them: RFC 3339 with nanoseconds and ``Z``; and as nanoseconds since 1970."""

from __future__ import annotations

import calendar
import re
import time

from sampan.errors import Invalid

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE
)
_SECOND = 1_000_000_000


def now() -> str:
    return text(time.time_ns())


def text(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, _SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def nanoseconds(stamp: str) -> int:
    """From RFC 3339, or from seconds since 1970 with up to nine decimals. Raises ``Invalid``."""
    number = re.fullmatch(r"(\d{1,11})(?:\.(\d{1,9})\d*)?", stamp, re.ASCII)
    if number:
        return int(number[1]) * _SECOND + _fraction(number[2])
    match = _RFC3339.fullmatch(stamp)
    if not match:
        raise Invalid(f"invalid time: '{stamp}', expected seconds since 1970 or RFC 3339")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        raise Invalid(f"invalid time: '{stamp}', expected seconds since 1970 or RFC 3339")
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    return (seconds - _offset(match[8] or "Z")) * _SECOND + _fraction(match[7])


def _fraction(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0")[:9] or 0)


def _offset(zone: str) -> int:
    if zone in "Zz":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -seconds if zone[0] == "-" else seconds
