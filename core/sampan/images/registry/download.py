"""Blobs on their way here: several at once, each once however many want it, gone on with where they were cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientResponse

from sampan.errors import Invalid
from sampan.images.content import CHUNK, ContentStore
from sampan.images.drafts import NONE, Drafts
from sampan.images.registry.documents import Descriptor
from sampan.images.registry.failures import Answered, Temporary
from sampan.images.registry.loop import in_thread
from sampan.images.registry.partials import Partial, Partials
from sampan.images.registry.persistence import persistently
from sampan.images.registry.progress import Line
from sampan.images.registry.repository import Repository

SLOWEST = 1024  # bytes a second: who sends less for as long as we are patient is as good as silent


class Downloads:
    """All downloads of this engine. Its methods are for the registries' loop."""

    def __init__(self, content: ContentStore, partials: Partials, most: int, patience: float) -> None:
        self._content = content
        self._partials = partials
        self._patience = patience
        self._places = asyncio.Semaphore(most)
        self._busy: dict[str, _Shared] = {}

    async def fetch(self, source: Repository, blob: Descriptor, line: Line, drafts: Drafts = NONE) -> bool:
        """Have a blob in the content store; False if it was there. The caller has leased it. ``drafts``: where it is
        unpacked meanwhile, if it is not another one who fetches it.

        ``Invalid`` if the content is not what its digest says, or longer; what was fetched until anything else goes
        wrong is kept for the next time.
        """
        if self._content.has(blob.digest):
            line.say("Already exists")
            return False
        line.say("Pulling fs layer")
        async with self._alone(blob.digest, line) as shared:
            if not self._content.has(blob.digest):
                async with self._place(line):
                    await self._fetch(source, blob, shared, drafts)
        line.say("Download complete")
        return True

    async def _fetch(self, source: Repository, blob: Descriptor, shared: _Shared, drafts: Drafts) -> None:
        partial = await in_thread(self._partials.begin, blob.digest, blob.size)
        try:
            draft = await in_thread(drafts.begin, partial.path)
            partial.unpack_meanwhile(draft)
            for last in (False, True):
                await persistently(
                    source.attempts,
                    lambda: self._go_on(source, partial, shared),
                    reached=lambda: partial.size,
                    waiting=lambda seconds: shared.say(f"Retrying in {seconds} second{'s' if seconds > 1 else ''}"),
                )
                shared.say("Verifying Checksum")
                if partial.is_right():
                    break
                resumed = partial.began_at > 0
                partial.reset()
                if last or not resumed:  # what lay here from an earlier time may have been bad
                    raise Invalid(f"filesystem layer verification failed for digest {blob.digest}")
            await in_thread(self._partials.keep, partial)
            if draft:
                drafts.name(draft, blob.digest)
        finally:
            partial.close()

    async def _go_on(self, source: Repository, partial: Partial, shared: _Shared) -> None:
        """From where it was cut off to the end, or to where it is cut off again."""
        if partial.size == partial.whole:
            return
        headers = {"Range": f"bytes={partial.size}-"} if partial.size else {}
        url = source.inside(f"blobs/{partial.digest}")
        try:
            async with source.ask("GET", url, headers, None, 200, 206) as response:
                _fits(response, partial)
                await self._take(response, partial, shared)
        except Answered as error:
            if error.status != 416:
                raise
            partial.reset()
            raise Temporary(error.message) from None
        if partial.size < partial.whole:
            far = f"after {partial.size} of {partial.whole} bytes"
            raise Temporary(f"blob {partial.digest} ended {far}: unexpected EOF")

    async def _take(self, response: ClientResponse, partial: Partial, shared: _Shared) -> None:
        pace = Pace(self._patience)
        pending = bytearray()
        try:
            async for piece in response.content.iter_any():
                pending += piece
                if len(pending) >= CHUNK or partial.size + len(pending) >= partial.whole:
                    full, pending = pending, bytearray()
                    await in_thread(partial.write, full)
                    shared.move(partial.size, partial.whole)
                if pace.is_lost(len(piece)):
                    raise Temporary(f"{response.url.host} sends less than {SLOWEST} bytes a second")
        finally:
            partial.write(pending)  # whatever has come is not fetched again

    @asynccontextmanager
    async def _place(self, line: Line) -> AsyncIterator[None]:
        if self._places.locked():
            line.say("Waiting")
        async with self._places:
            yield

    @asynccontextmanager
    async def _alone(self, digest: str, line: Line) -> AsyncIterator[_Shared]:
        """One of those who want a blob fetches it; the others watch, and one of them takes over if he is cut off."""
        shared = self._busy.setdefault(digest, _Shared())
        shared.lines.append(line)
        try:
            async with shared.lock:
                yield shared
        finally:
            shared.lines.remove(line)
            if not shared.lines:
                self._busy.pop(digest, None)


class Pace:
    """Is a server as slow as one that is silent?"""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self._count = 0

    def is_lost(self, more: int) -> bool:
        """``more`` bytes have come."""
        self._count += more
        passed = time.monotonic() - self._since
        if passed < self._patience:
            return False
        lost = self._count < SLOWEST * passed
        self._since, self._count = time.monotonic(), 0
        return lost


class _Shared:
    """A download and the lines that show it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.lines: list[Line] = []

    def say(self, status: str) -> None:
        for line in self.lines:
            line.say(status)

    def move(self, current: int, total: int) -> None:
        for line in self.lines:
            line.move("Downloading", current, total)


def _fits(response: ClientResponse, partial: Partial) -> None:
    """Does what comes begin where we are, and have the length that was announced?"""
    if response.status == 206:
        said = response.headers.get("Content-Range", "")
        if not said.startswith(f"bytes {partial.size}-"):
            partial.reset()
            raise Temporary(f"{response.url.host} was asked to go on at another place than it did ({said[:40]!r})")
    elif partial.size:
        partial.reset()  # it does not know how to go on
    length = response.content_length
    if length is not None and partial.size + length != partial.whole:
        raise Invalid(f"blob {partial.digest} has {partial.size + length} bytes, but {partial.whole} were announced")
