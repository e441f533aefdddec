"""Execs: one more process in a running container."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

from sampan.api import letters
from sampan.api.call import Call, typed
from sampan.api.nouns import routes
from sampan.api.nouns.streams import stream_type
from sampan.api.views.execs import inspect as view
from sampan.api.wire import keys
from sampan.api.wire.answer import Hijack, Reply, json

SIZED = (1, 42)
"""Clients that are older cannot say how large a terminal is at first."""


@routes.post("/containers/{id}/exec")
def create(call: Call) -> Reply:
    body = call.json(letters.EXEC_CREATE)
    keys.parse(typed(body.get("DetachKeys") or "", str))
    if call.version < SIZED:
        body.pop("ConsoleSize", None)
    made = call.engine.execs.create(call.id, body)
    return json({"Id": made.id}, 201)


@routes.post("/exec/{id}/start")
def start(call: Call) -> Iterator[Hijack | Reply]:
    """Detached: answers when the process runs. Otherwise the connection becomes the process's streams, with Docker's
    framing unless the client says that it expects a terminal, whatever the process has; and the client may make ready
    for them while it is being started."""
    body = call.json(letters.EXEC_START, optional=True)
    found = call.engine.execs.get(call.id)
    detach = typed(body.get("Detach") or False, bool)
    raw, tty = typed(body.get("Tty") or False, bool), bool(found.config.get("Tty"))
    given = body.get("ConsoleSize") if raw and call.version >= SIZED else None
    size = given or found.config.get("ConsoleSize")
    size = typed(size, tuple[int, int]) if size else None
    peer, finish = call.engine.execs.begin(found.id, detach=detach, framed=not raw, size=size)
    if peer is None:
        finish()
        yield Reply(200)
    elif not tty:
        yield Hijack(peer, stream_type(call, raw))
        finish()
    else:
        leave = keys.DetachKeys(keys.parse(found.detach_keys))
        yield Hijack(peer, stream_type(call, raw), leave, partial(call.engine.execs.detached, found.id))
        finish()


@routes.post("/exec/{id}/resize")
def resize(call: Call) -> Reply:
    call.engine.execs.resize(call.id, call.query.size("h"), call.query.size("w"))
    return Reply(200)


@routes.get("/exec/{id}/json")
async def inspect(call: Call) -> Any:
    found = call.engine.execs.known(call.id)
    if found.running:
        found = await asyncio.get_running_loop().run_in_executor(call.workers, call.engine.execs.get, call.id)
    return view(found)
