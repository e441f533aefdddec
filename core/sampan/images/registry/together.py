"""Several things at once, of which none goes on behind anybody's back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Together:
    """Tasks of which none is left behind: when the block is left, what goes on is cancelled and its end awaited."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[bool]] = []

    def begin(self, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    async def result(self, wanted: asyncio.Task[bool]) -> bool:
        """What one of them gives. Raises as soon as any of them has failed."""
        while not wanted.done():
            await asyncio.wait([task for task in self._tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        return wanted.result()

    async def __aenter__(self) -> Together:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()
