"""The head of a request: parsed by httptools, bounded in size, refused in one sentence when it is not HTTP."""

from __future__ import annotations

from asyncio import BaseTransport
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httptools

if TYPE_CHECKING:
    from sampan.api.wire.body import Body

MAX_HEAD = (
    64 * 1024
)  # bytes of request line and headers together; dockerd allows a little more, clients send under 2 KiB
MAX_TARGET = 16 * 1024  # bytes of path and query


class BadRequest(Exception):
    """What came is not a request that can be answered: ``status`` and one sentence, then the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Request:
    """One request. ``path`` is decoded, ``query`` is not; header names are in lower case.

    ``length`` is the announced size of the body in bytes, None when it is chunked. ``body`` is where it arrives.
    """

    __slots__ = (
        *("body", "chunked", "headers", "keep_alive", "length", "method", "path", "query", "transport", "upgrade"),
        "version",
    )

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.query = ""
        self.version = "1.1"
        self.headers: dict[str, str] = {}
        self.keep_alive = True
        self.upgrade = ""
        self.length: int | None = 0
        self.chunked = False
        self.body: Body | None = None
        self.transport: BaseTransport | None = None  # to ask who it is that asks

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)

    @property
    def expects_continue(self) -> bool:
        return self.headers.get("expect", "").lower() == "100-continue"


class HeadReader:
    """Collects bytes until a head is complete. One reader serves one request.

    Only the head is given to httptools: what follows may be a body, the next request, or, after an upgrade, bytes
    that are none of HTTP's business, and none of it may be lost.
    """

    __slots__ = ("_parser", "_request", "_size", "_tail", "_target")

    def __init__(self) -> None:
        self._request = Request()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._tail = b""
        self._size = 0

    @property
    def started(self) -> bool:
        return self._size > 0

    def feed(self, data: bytes) -> tuple[Request | None, bytes]:
        """Returns the request once its head is complete, and the bytes behind it. Raises :class:`BadRequest`."""
        if not self._size:
            data = data.lstrip(b"\r\n")  # RFC 9112 section 2.2: ignore empty lines before a request
            if not data:
                return None, b""
        overlap = len(self._tail)
        end = (self._tail + data).find(b"\r\n\r\n") if overlap else data.find(b"\r\n\r\n")
        head = data if end < 0 else data[: end + 4 - overlap]
        self._size += len(head)
        if self._size > MAX_HEAD:
            raise BadRequest(431, f"the request's headers are larger than {MAX_HEAD} bytes")
        self._parse(head)
        if end < 0:
            self._tail = (self._tail + data)[-3:]
            return None, b""
        return self._finish(), data[len(head) :]

    def _parse(self, head: bytes) -> None:
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # the head is complete; what follows it is ours to hand over
        except BadRequest:
            raise
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, BadRequest):
                raise error.__context__ from None
            raise BadRequest(400, f"this is not an HTTP/1.1 request: {error}") from None

    # httptools' callbacks

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_TARGET:
            raise BadRequest(414, f"the request's URL is longer than {MAX_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._request.headers
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        self._request.keep_alive = self._parser.should_keep_alive()  # httptools forgets it behind the message

    def _finish(self) -> Request:
        request, parser = self._request, self._parser
        request.version = parser.get_http_version()
        if request.version not in ("1.1", "1.0"):
            raise BadRequest(505, f"HTTP/{request.version} is not spoken here, HTTP/1.1 is")
        request.method = parser.get_method().decode("ascii")
        headers = request.headers
        if parser.should_upgrade():
            request.upgrade = headers.get("upgrade", "")
        request.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if "transfer-encoding" in headers and not request.chunked:
            raise BadRequest(501, f"transfer encoding {headers['transfer-encoding']!r} is not spoken here, chunked is")
        request.length = None if request.chunked else int(headers.get("content-length") or 0)
        request.path, request.query = _split(self._target)
        return request


def _split(target: bytes) -> tuple[str, str]:
    """Path and query of a request target in origin form or in absolute form (RFC 9112 section 3.2)."""
    text = target.decode("latin-1")
    if not text.startswith("/") and "://" in text:
        text = "/" + text.split("://", 1)[1].partition("/")[2]
    path, _, query = text.partition("?")
    return (unquote(path) if "%" in path else path), query
