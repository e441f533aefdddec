"""Blobs on their way out: in one piece or in several, mounted from another repository, or not at all if they are there.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from sampan.images.content import CHUNK
from sampan.images.registry.failures import Answered, Temporary
from sampan.images.registry.http import joined
from sampan.images.registry.loop import in_thread
from sampan.images.registry.persistence import persistently
from sampan.images.registry.progress import Line
from sampan.images.registry.repository import Repository
from sampan.images.registry.unfinished import Unfinished

SETTLING = 300.0  # seconds that a registry gets to put away what it was sent


class Uploads:
    """All uploads of this engine. Its methods are for the registries' loop."""

    def __init__(self, unfinished: Unfinished, most: int, piece: int, patience: float) -> None:
        self._unfinished = unfinished
        self._piece = max(piece, 1 << 16)
        self._patience = patience
        self._places = asyncio.Semaphore(most)

    @asynccontextmanager
    async def place(self, line: Line) -> AsyncIterator[None]:
        """One of the places for what is compressed and sent at the same time."""
        if self._places.locked():
            line.say("Waiting")
        async with self._places:
            yield

    async def has(self, target: Repository, digest: str) -> bool:
        """Is it there? Then no upload of it is unfinished."""

        async def once() -> bool:
            async with target.ask("HEAD", target.inside(f"blobs/{digest}"), None, None, 200, 404) as response:
                return response.status == 200

        there = await persistently(target.attempts, once)
        if there:
            self._unfinished.remove(target.inside(""), digest)
        return there

    async def mount(self, target: Repository, digest: str, sources: Sequence[str]) -> str:
        """Have it from another repository of that registry, by path; returns which, or nothing."""
        for source in sources:
            url = target.inside(f"blobs/uploads/?mount={digest}&from={quote(source)}")
            try:
                async with target.ask("POST", url, {"Content-Length": "0"}, None, 201, 202) as response:
                    if response.status == 201:
                        return source
                    location = _location(target, response.url, response.headers.get("Location", ""))
            except (Answered, Temporary):
                continue
            await _give_up(target, location)
        return ""

    async def send(self, target: Repository, path: Path, digest: str, line: Line) -> None:
        """Upload a file; what gets lost on the way is sent again, and no more than that."""
        upload = _Upload(self._unfinished, target, path, digest, line, self._piece, self._patience)
        try:
            await persistently(
                target.attempts,
                upload.go_on,
                reached=lambda: upload.sent,
                waiting=lambda seconds: line.say(f"Retrying in {seconds} second{'s' if seconds > 1 else ''}"),
            )
        finally:
            os.close(upload.file)


class _Upload:
    """``sent`` bytes are known to have arrived."""

    def __init__(
        self,
        unfinished: Unfinished,
        target: Repository,
        path: Path,
        digest: str,
        line: Line,
        piece: int,
        patience: float,
    ) -> None:
        self._target = target
        self._digest = digest
        self._line = line
        self._piece = piece
        self._patience = patience
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._whole = os.fstat(self.file).st_size
        self._unfinished = unfinished
        self._location = unfinished.get(target.inside(""), digest) if self._whole > piece else ""
        self.sent = 0

    async def go_on(self) -> None:
        """From where it was cut off to the end."""
        if self._location:
            await self._ask_where()
        if not self._location:
            await self._begin()
        try:
            while self._whole - self.sent > self._piece or (self.sent and self.sent < self._whole):
                await self._patch(min(self._piece, self._whole - self.sent))
            await self._put()
        except Answered as error:
            if error.status not in (404, 416):
                raise
            self._unfinished.remove(self._target.inside(""), self._digest)
            self._location, self.sent = "", 0  # it has forgotten the upload, or counts otherwise than we do
            raise Temporary(error.message) from None

    async def _begin(self) -> None:
        url = self._target.inside("blobs/uploads/")
        async with self._target.ask("POST", url, {"Content-Length": "0"}, None, 202) as response:
            self._location = _location(self._target, response.url, response.headers.get("Location", ""))
        self.sent = 0

    async def _ask_where(self) -> None:
        """How much has arrived? What cannot be told begins anew."""
        location, self._location = self._location, ""
        try:
            async with self._target.ask("GET", location, None, None, 202, 204) as response:
                last = response.headers.get("Range", "").rpartition("-")[2]
                self.sent = int(last) + 1 if last.isdigit() and int(last) else 0
                if self.sent <= self._whole:
                    self._location = _location(self._target, response.url, response.headers.get("Location") or location)
        except Answered:
            self.sent = 0

    async def _patch(self, count: int) -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{self.sent}-{self.sent + count - 1}",
            "Content-Length": str(count),
        }
        async with asyncio.timeout(None) as limit:
            body = lambda: self._bytes(self.sent, count, limit)  # noqa: E731
            async with self._target.ask("PATCH", self._location, headers, body, 202, 201, 204) as response:
                self._location = _location(self._target, response.url, response.headers.get("Location", ""))
        self.sent += count
        self._unfinished.put(self._target.inside(""), self._digest, self._location)

    async def _put(self) -> None:
        """The rest, if there is any, and the end."""
        rest = self._whole - self.sent
        url = f"{self._location}{'&' if '?' in self._location else '?'}digest={quote(self._digest, safe='')}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(rest)}
        async with asyncio.timeout(None) as limit:
            body = (lambda: self._bytes(self.sent, rest, limit)) if rest else None
            async with self._target.ask("PUT", url, headers, body, 201, 204, patience=SETTLING):
                self.sent = self._whole
        self._unfinished.remove(self._target.inside(""), self._digest)

    async def _bytes(self, start: int, count: int, limit: asyncio.Timeout) -> AsyncIterator[bytes]:
        """A part of the file. Whoever does not take it for as long as we are patient is given up."""
        at, end, loop = start, start + count, asyncio.get_running_loop()
        while at < end:
            limit.reschedule(loop.time() + self._patience)
            data = await in_thread(os.pread, self.file, min(CHUNK, end - at), at)
            yield data
            at += len(data)
            self._line.move("Pushing", at, self._whole)
        limit.reschedule(loop.time() + SETTLING)


async def _give_up(target: Repository, location: str) -> None:
    """A mount that did not come off has begun an upload."""
    try:
        async with target.ask("DELETE", location, None, None, 204, 202, 200):
            return
    except (Answered, Temporary):
        return


def _location(target: Repository, asked: object, location: str) -> str:
    from yarl import URL

    assert isinstance(asked, URL)
    if not location:
        raise Answered(f"{target.endpoint.base} does not say where to upload to", 500)
    return str(joined(asked, location))
