"""One call of the API as its handler sees it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import msgspec

from sampan.api.letters import Shape, canonical
from sampan.api.query import Query
from sampan.api.wire import peer
from sampan.api.wire.outlet import Outlet, from_thread
from sampan.api.wire.request import Request
from sampan.errors import Invalid

if TYPE_CHECKING:
    from sampan.engine import Engine

MAX_JSON = 8 * 1024 * 1024  # bytes of a JSON body; the largest that clients send are a few KiB

T = TypeVar("T")


class Call:
    """``params`` are the path's named parts; ``version`` is the API version that the client speaks."""

    def __init__(
        self, engine: Engine, workers: Executor, request: Request, params: dict[str, str], version: tuple[int, int]
    ) -> None:
        self.engine = engine
        self.workers = workers
        self.request = request
        self.params = params
        self.version = version
        self.content = b""  # the body, for handlers that do not stream it

    @cached_property
    def query(self) -> Query:
        return Query(self.request.query)

    @property
    def id(self) -> str:
        return self.params["id"]

    @property
    def name(self) -> str:
        return self.params["name"]

    @property
    def client(self) -> str:
        """Who asks, for people to read; nothing if nobody knows."""
        transport = self.request.transport
        return peer.name(transport) if transport else ""

    def json(self, shape: Shape, *, optional: bool = False) -> dict[str, Any]:
        """The body as an object with its keys in canonical spelling. ``Invalid`` when it is none."""
        if not self.content:
            if optional:
                return {}
            raise Invalid("invalid JSON: got EOF while reading request body")
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Invalid(f"unsupported Content-Type header ({kind or 'none'}): must be 'application/json'")
        try:
            data = msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise Invalid(_unread(str(error), self.content)) from None
        if data is None and optional:
            return {}
        if not isinstance(data, dict):
            raise Invalid("invalid JSON: the request's body must be a JSON object")
        return cast(dict[str, Any], canonical(data, shape))

    def upload(self) -> BinaryIO:
        """The body as a file, to be read in a worker thread while it arrives."""
        if self.request.body is None:
            raise Invalid("this request needs a body")
        return cast(BinaryIO, self.request.body.file())

    def from_thread(self, work: Callable[[Outlet], object]) -> AsyncGenerator[bytes, None]:
        return from_thread(self.workers, work)


def _unread(problem: str, content: bytes) -> str:
    """Why a body is not JSON, in the words of dockerd where it has them."""
    if "trailing characters" in problem:
        return "unexpected content after JSON"
    place = re.search(r"object keys must be strings \(byte (\d+)\)", problem)
    if place:
        character = chr(content[int(place[1])])
        return f"invalid JSON: invalid character {character!r} looking for beginning of object key string"
    return f"invalid JSON: {problem}"


def typed(value: Any, kind: type[T]) -> T:
    """``value`` as ``kind``; ``Invalid`` says which key has which wrong type."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.strip(".`") or "the request's body"
        wrong = re.sub(r"^Expected `(.+?)`, got `(.+?)`$", r"must be \1, not \2", what)
        raise Invalid(f"{key}: {wrong}") from None
