"""Trying again: with growing pauses, and when the server has said, as long as it has said."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sampan.images.registry.failures import Temporary

FIRST, LONGEST = 0.5, 30.0  # seconds between attempts
PATIENCE = 120.0  # the longest that a server may make us wait

T = TypeVar("T")


async def persistently(
    attempts: int,
    act: Callable[[], Awaitable[T]],
    *,
    reached: Callable[[], int] = lambda: 0,
    waiting: Callable[[int], object] = lambda seconds: None,
) -> T:
    """What ``act`` gives, tried at most so often. An attempt that ``reached`` more than those before begins the count
    anew. ``waiting`` is told how many seconds go by until the next one."""
    failed, best = 0, reached()
    while True:
        try:
            return await act()
        except Temporary as error:
            failed, best = (1, reached()) if reached() > best else (failed + 1, best)
            pause = error.pause if error.pause is not None else pause_after(failed)
            if failed >= attempts or pause > PATIENCE:
                raise
        waiting(max(1, round(pause)))
        await asyncio.sleep(pause)


def pause_after(failed: int) -> float:
    """Not the same for all clients of a server that has just come up again."""
    return min(LONGEST, FIRST * 2.0 ** (failed - 1)) * (0.75 + random.random() / 2)  # noqa: S311


def retry_after(value: str) -> float | None:
    """Seconds, from a ``Retry-After`` header (RFC 9110 section 10.2.3)."""
    if value.strip().isdigit():
        return float(value.strip()[:9])
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
