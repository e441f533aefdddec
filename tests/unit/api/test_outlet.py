"""What a thread makes for a client."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from sampan.api.wire.outlet import HIGH, Outlet, from_thread
from sampan.api.workers import Workers


def test_that_the_client_has_left_is_no_news_to_anybody() -> None:
    told: list[Any] = []
    workers = Workers(1)

    def endless(outlet: Outlet) -> None:
        while True:
            outlet.write(bytes(HIGH))

    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        chunks = from_thread(workers, endless)
        assert await anext(chunks)
        await chunks.aclose()
        assert await asyncio.to_thread(workers.settle, 5)
        await asyncio.sleep(0)  # the thread's end is told to the loop
        gc.collect()

    asyncio.run(leave())
    workers.shutdown()
    assert not told
