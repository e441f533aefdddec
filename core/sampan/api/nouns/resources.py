"""What containers may use, and what they use: limits that change, and counters that flow."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

from sampan.api import letters
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.times import rfc3339
from sampan.api.views import stats as views
from sampan.api.wire.answer import Stream, line
from sampan.drivers.types import Stats
from sampan.errors import Conflict, Invalid, NotFound, Unsupported

INTERVAL = 1.0  # seconds between two entries


@routes.post("/containers/{id}/update")
def update(call: Call) -> Any:
    body = call.json(letters.CONTAINER_UPDATE)
    if call.version < (1, 40):
        body.pop("PidsLimit", None)  # older clients send it without meaning it
    return {"Warnings": call.engine.containers.update(call.id, body) or None}


@routes.get("/containers/{id}/stats")
async def stats(call: Call) -> Stream:
    """One entry a second. Without ``stream`` a single one, after a second for the CPU's sake unless ``one-shot``.

    Nothing is counted by the engine itself: the kernel's files are read when somebody asks.
    """
    follow = call.query.flag("stream", True)
    if call.query.flag("one-shot") and follow:
        raise Invalid("cannot have stream=true and one-shot=true")
    call.engine.containers.get(call.id)
    first = await _take(call, None)  # a runtime that cannot tell is an answer still
    return Stream(_stats(call, follow, first), live=True)


async def _take(call: Call, before: dict[str, Any] | None) -> dict[str, Any] | None:
    return await asyncio.get_running_loop().run_in_executor(call.workers, _sample, call, before)


async def _stats(call: Call, follow: bool, entry: dict[str, Any] | None) -> AsyncGenerator[bytes, None]:
    primes = not follow and not call.query.flag("one-shot")  # the first entry is only for the second's sake
    while True:
        if entry is None:
            return
        runs = bool(entry["pids_stats"])
        if follow or not primes or not runs:
            yield line(entry)
            if not follow:
                return
        primes = False
        before = entry if runs else None
        await asyncio.sleep(INTERVAL)
        entry = await _take(call, before)


def _sample(call: Call, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """None when the container is gone."""
    now: Stats | None = None
    with contextlib.suppress(NotFound):
        container = call.engine.containers.get(call.id)
        with contextlib.suppress(Conflict, NotFound, Unsupported):  # it does not run, or nobody counts
            now = call.engine.containers.stats(container.id)
        return views.stats(container, now, rfc3339(time.time_ns()), before)
    return None
