"""From a worker thread to a client, with back-pressure: the thread writes, the event loop sends."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from typing import Any

HIGH = 1024 * 1024  # bytes waiting for a slow client before the thread is held back


class Outlet:
    """Bytes that a thread makes and the event loop takes. Writing to a client that left raises BrokenPipeError."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = threading.Condition()
        self._chunks: list[bytes] = []
        self._size = 0
        self._closed = False
        self._ready = asyncio.Event()
        self._leaving: list[Callable[[], object]] = []

    # in a worker thread

    def write(self, data: bytes) -> None:
        with self._room:
            while self._size > HIGH and not self._closed:
                self._room.wait()
            if self._closed:
                raise BrokenPipeError("the client went away")
            self._chunks.append(data)
            self._size += len(data)
            if len(self._chunks) == 1:
                self._loop.call_soon_threadsafe(self._ready.set)

    def when_closed(self, callback: Callable[[], object]) -> None:
        """``callback`` is called, and must not wait, when the client has gone away or all is sent."""
        with self._room:
            closed = self._closed
            self._leaving.append(callback)
        if closed:
            callback()

    def file(self) -> io.BufferedWriter:
        return io.BufferedWriter(_Writer(self), 256 * 1024)

    # on the event loop

    def finished(self) -> None:
        self._ready.set()

    def close(self) -> None:
        with self._room:
            self._closed = True
            self._chunks.clear()
            self._room.notify_all()
        for callback in self._leaving:
            callback()

    def take(self) -> bytes:
        with self._room:
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
            self._size = 0
            self._ready.clear()
            self._room.notify_all()
            return data

    async def ready(self) -> None:
        await self._ready.wait()


class _Writer(io.RawIOBase):
    """The file side of an outlet."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._outlet.write(bytes(data))
        return len(data)


async def from_thread(workers: Executor, work: Callable[[Outlet], object]) -> AsyncGenerator[bytes, None]:
    """What ``work`` writes, run in a worker thread; its exception is raised here, behind what it had written."""
    loop = asyncio.get_running_loop()
    outlet = Outlet(loop)
    done = loop.run_in_executor(workers, work, outlet)
    done.add_done_callback(lambda _: outlet.finished())
    try:
        while not done.done():
            await outlet.ready()
            if data := outlet.take():
                yield data
        if data := outlet.take():
            yield data
        done.result()
    finally:
        outlet.close()
        done.add_done_callback(_seen)


def _seen(done: asyncio.Future[Any]) -> None:
    """Whoever has left does not want to know: else asyncio would log what the thread has found out by that."""
    if not done.cancelled():
        done.exception()
