"""Points in time as people write them (``--since 10m``, ``--until 2024-05-01``) and as the API wants them."""

from __future__ import annotations

import datetime
import time

from sampan.cli.failures import Usage
from sampan.cli.quantities import duration


def timestamp(text: str) -> str:
    """Seconds since 1970, with nanoseconds if there are any. ``text`` is that, a Go duration (so long ago) or RFC 3339,
    whose end may be left out. Raises Usage."""
    if not text:
        return ""
    whole, dot, part = text.partition(".")
    if whole.lstrip("-").isdigit() and (not dot or part.isdigit()):
        return text
    try:
        return f"{time.time() - duration(text) / 1e9:.9f}"
    except ValueError:
        pass
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"invalid time {text}: write 10m, 2024-05-01T10:00:00Z or seconds since 1970", code=1) from None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return f"{moment.timestamp():.9f}"


def seconds(text: str) -> float:
    """Seconds since 1970 of a time in the API's answers (RFC 3339 with up to nine digits); 0 when it is none."""
    head, dot, rest = text.partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{head}.{digits[:6]}{rest[len(digits) :]}"
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
