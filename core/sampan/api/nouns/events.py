"""Events: what happened, told while it happens."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.query import Filters
from sampan.api.times import SECOND
from sampan.api.wire.answer import Stream, line
from sampan.errors import Invalid
from sampan.events import Event

PENDING = 10_000  # events that a client may be behind before it is let go
NOUNS = ("container", "image", "network", "volume", "plugin", "daemon", "service", "node", "secret", "config")

_listening: set[object] = set()


def count_listeners() -> int:
    return len(_listening)


@routes.get("/events")
async def events(call: Call) -> Stream:
    since, until = call.query.moment("since"), call.query.moment("until")
    if since and until and since > until:
        raise Invalid("`since` time cannot be after `until` time")
    filters = call.query.filters("type", "event", "label", "scope", "image", *NOUNS)
    return Stream(_follow(call, since, until, filters), live=True)


async def _follow(call: Call, since: int | None, until: int | None, filters: Filters) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    pending: deque[Event] = deque()
    arrived = asyncio.Event()
    deadline = None if until is None else loop.time() + max(0.0, (until - time.time_ns()) / SECOND)

    def listener(event: Event) -> None:
        pending.append(event)
        if len(pending) <= PENDING:
            loop.call_soon_threadsafe(arrived.set)

    bus = call.engine.events
    kept = bus.subscribe(listener, since=since or (0 if until else None))
    _listening.add(listener)
    try:
        for event in kept:
            if (until is None or event["timeNano"] <= until) and matches(event, filters):
                yield line(shape(event))
        while await _arrival(arrived, deadline):
            arrived.clear()
            if len(pending) > PENDING:
                return
            batch = [pending.popleft() for _ in range(len(pending))]
            if data := b"".join(line(shape(event)) for event in batch if matches(event, filters)):
                yield data
    finally:
        bus.unsubscribe(listener)
        _listening.discard(listener)


async def _arrival(arrived: asyncio.Event, deadline: float | None) -> bool:
    """False when the deadline passed first."""
    try:
        async with asyncio.timeout_at(deadline):
            await arrived.wait()
    except TimeoutError:
        return False
    return True


def shape(event: Event) -> dict[str, Any]:
    """With the three fields that clients of before 1.22 read, which dockerd still sends."""
    if event["Type"] not in ("container", "image"):
        return event
    attributes = event["Actor"]["Attributes"]
    source = {"from": attributes["image"]} if event["Type"] == "container" and "image" in attributes else {}
    return {"status": event["Action"], "id": event["Actor"]["ID"], **source, **event}


def matches(event: Event, filters: Filters) -> bool:
    actor = event["Actor"]
    if not filters:
        return True
    tests: list[tuple[str, Callable[[str], bool]]] = [
        ("type", lambda wanted: wanted == event["Type"]),
        ("event", lambda wanted: event["Action"] == wanted or event["Action"].startswith(f"{wanted}: ")),
        ("scope", lambda wanted: wanted == event["scope"]),
        *((noun, _names(event, noun)) for noun in NOUNS),
    ]
    return filters.labels(actor["Attributes"]) and all(
        any(test(wanted) for wanted in filters.get(name)) for name, test in tests if name in filters
    )


def _names(event: Event, noun: str) -> Callable[[str], bool]:
    """Is this about the ``noun`` called so? A container's events also belong to its image."""
    ident, attributes = event["Actor"]["ID"], event["Actor"]["Attributes"]

    def test(wanted: str) -> bool:
        if noun == "image" and event["Type"] == "container":
            return _same_image(wanted, attributes.get("image", ""))
        if event["Type"] != noun:
            return False
        named = (ident, attributes.get("name"))
        return wanted in named or ident.startswith(wanted) or (noun == "image" and _same_image(wanted, ident))

    return test


def _same_image(wanted: str, name: str) -> bool:
    return wanted == name or wanted == name.removesuffix(":latest") or name.partition(":")[0] == wanted
