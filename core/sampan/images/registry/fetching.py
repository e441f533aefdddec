"""A file from a web server, as ``docker import URL`` takes it: once, from its beginning to its end."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from urllib.parse import unquote

from aiohttp import ClientResponse
from yarl import URL

from sampan.errors import Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from sampan.images.content import CHUNK
from sampan.images.registry.download import Pace
from sampan.images.registry.endpoints import Endpoint, Trust
from sampan.images.registry.failures import shown
from sampan.images.registry.http import Http
from sampan.images.registry.http import shown as shown_url
from sampan.images.registry.loop import in_thread
from sampan.images.registry.progress import Board, Line

TOLD = 1 << 12  # bytes that a server may say about why it refuses
_KINDS = {400: Invalid, 401: Unauthorized, 403: Forbidden, 404: NotFound}


async def fetch(address: str, take: Callable[[bytes], object], patience: float, board: Board) -> None:
    """Give ``take`` all of it, in threads. ``Invalid`` if that is no URL of a web server; ``NotFound``, ``Forbidden``…
    as the server says; ``Unavailable`` if it does not answer, or not to the end."""
    url, headers = _read(address)
    http = Http(Endpoint(str(url.origin()), Trust()), patience)
    try:
        async with http.send("GET", str(url), headers) as response:
            await _check(response)
            board.say(f"Downloading from {shown_url(url)}")
            await _take(response, take, Pace(patience), Line(board, ""))
    finally:
        await http.close()


async def _take(response: ClientResponse, take: Callable[[bytes], object], pace: Pace, line: Line) -> None:
    whole, come, pending = response.content_length or 0, 0, bytearray()
    async for piece in response.content.iter_any():
        pending += piece
        come += len(piece)
        if len(pending) >= CHUNK:
            full, pending = pending, bytearray()
            await in_thread(take, bytes(full))
            line.move("Importing", come, whole)
        if pace.is_lost(len(piece)):
            raise Unavailable(f"{response.url.host} has all but stopped sending: i/o timeout")
    await in_thread(take, bytes(pending))


def _read(address: str) -> tuple[URL, dict[str, str]]:
    """The URL and, of a name and password in it, the header that they mean."""
    try:
        url = URL(address if "://" in address else f"http://{address}")
        url.origin()
    except ValueError:
        raise Invalid(f"{address[:100]!r} is no URL such as https://example.org/root.tar.xz") from None
    if url.user is None:
        return url, {}
    secret = b64encode(f"{unquote(url.user)}:{unquote(url.password or '')}".encode()).decode()
    return url.with_user(None), {"Authorization": f"Basic {secret}"}


async def _check(response: ClientResponse) -> None:
    if response.status == 200:
        return
    said = shown((await response.content.read(TOLD)).decode(errors="replace"))
    what = f"failed to GET {shown_url(response.url)} with status {response.status} {response.reason or ''}".rstrip()
    raise _KINDS.get(response.status, Unavailable)(f"{what}: {said}" if said else what)
