"""What flows while a container lives: its standard streams, its log, its counters, its exit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import quote_plus

from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.wire import keys
from sampan.api.wire.answer import Hijack, Reply, Stream, line
from sampan.api.wire.outlet import Outlet
from sampan.api.wire.tunnel import heard
from sampan.containers.registry import Condition
from sampan.containers.streams.attach import frame
from sampan.containers.streams.logformats import LogEntry
from sampan.containers.streams.logs import Wanted
from sampan.errors import Invalid, SampanError

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
CONDITIONS = ("not-running", "next-exit", "removed")


def stream_type(call: Call, tty: bool) -> str:
    """Before 1.42 every stream was announced as raw, framed or not."""
    return RAW if tty or call.version < (1, 42) else MULTIPLEXED


@routes.post("/containers/{id}/attach")
def attach(call: Call) -> Hijack:
    query, containers = call.query, call.engine.containers
    container = containers.get(call.id)
    leave = keys.parse(query.text("detachKeys"))
    wanted = {name: query.flag(name) for name in ("stdin", "stdout", "stderr", "stream", "logs")}
    peer = containers.attach(container.id, **wanted)
    if not container.config.get("Tty"):
        return Hijack(peer, stream_type(call, False), of=container.id)
    left = partial(containers.detached, container.id)
    return Hijack(peer, stream_type(call, True), keys.DetachKeys(leave), left, of=container.id)


@routes.get("/containers/{id}/attach/ws")
def attach_by_websocket(call: Call) -> Hijack:
    """The bare bytes of both streams; before 1.42 of all three, whatever was asked for."""
    from sampan.api.wire import websocket

    query, containers = call.query, call.engine.containers
    container = containers.get(call.id)
    leave = keys.parse(query.text("detachKeys"))
    agreed = websocket.accepted(call.request.headers)
    wanted = {name: query.flag(name) or call.version < (1, 42) for name in ("stdin", "stdout", "stderr")}
    wanted |= {name: query.flag(name) for name in ("stream", "logs")}
    peer = containers.attach(container.id, **wanted, framed=False)
    escape = keys.DetachKeys(leave) if container.config.get("Tty") else None
    left = partial(containers.detached, container.id)
    return Hijack(peer, RAW, escape, left, of=container.id, websocket=agreed, text=call.version < (1, 28))


@routes.get("/containers/{id}/logs")
async def logs(call: Call) -> Stream:
    query, containers = call.query, call.engine.containers
    wanted = Wanted(
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        since=query.moment("since"),
        until=query.moment("until"),
        tail=int(tail) if (tail := query.text("tail")).isascii() and tail.isdigit() else None,
    )
    if not wanted.stdout and not wanted.stderr:
        raise Invalid("Bad parameters: you must choose at least one stream")
    container = containers.get(call.id)
    tty = bool(container.config.get("Tty"))
    timestamps, details = query.flag("timestamps"), query.flag("details")

    def said(entry: LogEntry) -> bytes:
        stamp = f"{entry.time} " if timestamps else ""
        added = f"{_attributes(entry.attrs)} " if details else ""
        return frame(entry.stream, (stamp + added).encode() + entry.data, tty=tty)

    def read(outlet: Outlet) -> None:
        with outlet.file() as out:
            out.writelines(said(entry) for entry in containers.logs(container.id, wanted))

    if not query.flag("follow"):
        return Stream(call.from_thread(read), content_type=stream_type(call, tty))
    following = cast(AsyncGenerator[list[LogEntry], None], containers.follow(container.id, wanted))
    return Stream(_follow(following, said), content_type=stream_type(call, tty), live=True)


def _attributes(attrs: Mapping[str, str]) -> str:
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attrs.items()))


async def _follow(
    entries: AsyncGenerator[list[LogEntry], None], said: Callable[[LogEntry], bytes]
) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(entries):
        async for several in entries:
            if several:
                yield b"".join(map(said, several))


@routes.post("/containers/{id}/resize")
def resize(call: Call) -> Reply:
    call.engine.containers.resize(call.id, call.query.size("h"), call.query.size("w"))
    return Reply(200)


@routes.post("/containers/{id}/wait")
async def wait(call: Call) -> Stream:
    """The head leaves at once: the CLI starts the container only when it knows that somebody waits for its end."""
    condition = call.query.text("condition") or "not-running"
    if condition not in CONDITIONS:
        raise Invalid(f'invalid condition: "{condition}": one of {", ".join(CONDITIONS)} is expected')
    containers = call.engine.containers
    container = containers.get(call.id)
    waiting = asyncio.ensure_future(containers.wait(call.id, cast(Condition, condition)))
    await asyncio.sleep(0)  # one step: the wish is registered before the head leaves
    if waiting.done() and waiting.exception():
        waiting.result()
    return Stream(_exit(waiting, container.id, tells_errors=condition != "removed"), live=True)


async def _exit(
    waiting: asyncio.Future[tuple[int, str]], ident: str, *, tells_errors: bool
) -> AsyncGenerator[bytes, None]:
    """Whoever waits for a removal hears of an error only if the removal failed; the start told its own."""
    try:
        code, error = await waiting
        await heard(ident)
        answer: dict[str, Any] = {"StatusCode": code}
        if error and tells_errors:
            answer["Error"] = {"Message": error}
    except SampanError as failure:
        answer = {"StatusCode": -1, "Error": {"Message": failure.message}}
    finally:
        waiting.cancel()
    yield line(answer)
