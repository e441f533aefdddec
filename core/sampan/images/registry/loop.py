"""The thread in which registries are talked to, with an event loop of its own, and work that must not hold it up.

The API's loop knows nothing of it. All these threads are such as do not keep the process from ending: what they do
survives a crash, and so it survives that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, ParamSpec, TypeVar, cast

from sampan.images.registry.progress import Board, Message

P = ParamSpec("P")
T = TypeVar("T")

Leaving = Callable[[Callable[[], object]], object]
"""Is given what to call when the one who has asked goes away."""


def stays(callback: Callable[[], object]) -> None:
    """Of one who does not go away."""


class Loop:
    """Started when it is first asked for something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attend(
        self, work: Coroutine[Any, Any, T], board: Board, tell: Callable[[Message], object], leaving: Leaving = stays
    ) -> T:
        """Have ``work`` done, and tell meanwhile what is put up on ``board``; blocks until it is over.

        If the client goes away, the work is cancelled, its end awaited, and ``BrokenPipeError`` raised.
        """
        loop = self._running()
        job = _Job(board)
        loop.call_soon_threadsafe(job.begin, work)
        leaving(board.close)
        try:
            while messages := board.take():
                for message in messages:
                    tell(message)
        finally:
            loop.call_soon_threadsafe(job.cancel)
            job.over.wait()
        if job.error is not None:
            raise job.error
        [result] = job.results
        return cast(T, result)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="registries", daemon=True).start()
            return self._loop


class _Job:
    """A coroutine in the loop, seen from another thread. ``over`` is set at its very end."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._task: asyncio.Task[Any] | None = None
        self.over = threading.Event()
        self.error: BaseException | None = None
        self.results: list[Any] = []

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.error = BrokenPipeError("the client went away")
        elif task.exception() is None:
            self.results.append(task.result())
        else:
            self.error = task.exception()
        self.over.set()
        self._board.close()


@asynccontextmanager
async def held(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A ``with`` whose ends may have to wait for somebody, in threads."""
    value = await in_thread(context.__enter__)
    try:
        yield value
    finally:
        await in_thread(context.__exit__, None, None, None)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread of its own. Whoever is cancelled meanwhile waits for it all the same: it cannot be."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            loop.call_soon_threadsafe(result.set_exception, error)
        else:
            loop.call_soon_threadsafe(result.set_result, value)

    threading.Thread(target=run, name="registry-work", daemon=True).start()
    try:
        return await asyncio.shield(result)
    except asyncio.CancelledError:
        await asyncio.wait([result])
        result.exception()
        raise
