"""The application behind the server: from a request to its handler, from what it gives to an answer."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from sampan import __version__
from sampan.api import failures
from sampan.api.call import MAX_JSON, Call
from sampan.api.nouns import routes
from sampan.api.router import NEWEST, Handler, Route, UnknownVersion, split_version
from sampan.api.wire import peer
from sampan.api.wire.answer import Answer, Hijack, Reply, Stream, json
from sampan.api.wire.request import Request

if TYPE_CHECKING:
    from sampan.engine import Engine

log = logging.getLogger(__name__)


class App:
    """Handlers that may wait run in ``workers``."""

    headers = (
        f"Api-Version: {NEWEST[0]}.{NEWEST[1]}\r\nDocker-Experimental: false\r\nOstype: {sys.platform}\r\n"
        f"Server: Sampan/{__version__} ({sys.platform})\r\n"
    ).encode()

    def __init__(self, engine: Engine, workers: Executor) -> None:
        self._engine = engine
        self._workers = workers

    def answer(self, request: Request) -> Answer | Awaitable[Answer]:
        log.debug("%s %s", request.method, request.path)
        if peer.is_page(request.headers.get("origin", ""), request.headers.get("host", "")):
            return failures.refuse(403, "web pages are not served: the request has an Origin header")
        try:
            version, path = split_version(request.path)
        except UnknownVersion as error:
            return failures.refuse(400, str(error))
        if request.method == "OPTIONS":
            return Reply(200)
        found = routes.find(request.method, path)
        if found is None:
            return failures.refuse(404, "page not found")
        route, params = found
        call = Call(self._engine, self._workers, request, params, version)
        if not route.inline:
            return self._run(route, call)
        try:
            return _as_answer(route.handler(call))
        except Exception as error:
            return failures.reply(error)

    def failure(self, error: Exception) -> Reply:
        return failures.reply(error)

    def refuse(self, status: int, message: str) -> Reply:
        return failures.refuse(status, message)

    async def _run(self, route: Route, call: Call) -> Answer:
        try:
            body = call.request.body
            if body and not route.streams:
                call.content = await body.whole(MAX_JSON)
            if route.is_async:
                return _as_answer(await route.handler(call))
            if route.goes_on:
                first: Future[Answer] = Future()
                self._workers.submit(_begin, route.handler, call, first)
                return await asyncio.wrap_future(first)
            loop = asyncio.get_running_loop()
            return _as_answer(await loop.run_in_executor(self._workers, route.handler, call))
        except Exception as error:
            return failures.reply(error)


def _begin(handler: Handler, call: Call, first: Future[Answer]) -> None:
    """Go through a generator; ``first`` gets what it yields. One that nobody waits for any more is not begun."""
    if not first.set_running_or_notify_cancel():
        return
    steps = handler(call)
    try:
        answer = next(steps)
    except Exception as error:
        first.set_exception(error)
        return
    first.set_result(answer)
    try:
        for _ in steps:
            pass
    except Exception:
        log.exception("what was left to do after an answer could not be done")


def _as_answer(result: Any) -> Answer:
    if isinstance(result, Reply | Stream | Hijack):
        return result
    return Reply(204) if result is None else json(result)
