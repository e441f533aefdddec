"""Streams of progress: messages as JSON lines, and what goes wrong behind the first one as one of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from sampan.api import failures
from sampan.api.call import Call
from sampan.api.wire.answer import line
from sampan.api.wire.outlet import Outlet

Progress = Callable[[dict[str, Any]], None]
Leaving = Callable[[Callable[[], object]], object]


def told(
    call: Call, work: Callable[[Progress, Leaving], object], *, in_stream: bool = False
) -> AsyncGenerator[bytes, None]:
    """What ``work`` tells; it is also given a way to learn that the client has gone away.

    ``in_stream``: even without a message before it, an error is one, but for that of a body that did not arrive.
    """

    def run(outlet: Outlet) -> None:
        begun = False

        def progress(message: dict[str, Any]) -> None:
            nonlocal begun
            begun = True
            outlet.write(line(message))

        try:
            work(progress, outlet.when_closed)
        except BrokenPipeError:
            raise
        except Exception as error:
            body = call.request.body
            if not begun and not (in_stream and body and not body.broken):
                raise
            text = failures.logged(error)
            outlet.write(line({"errorDetail": {"message": text}, "error": text}))

    return call.from_thread(run)
