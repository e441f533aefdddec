"""A small daemon that answers with what a test tells it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[str, str]
    socket: socket.socket

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    """``body`` becomes JSON unless it is bytes; a list of bytes is sent in chunks."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = MappingProxyType({})


Handler = Callable[[Request], "Answer | None"]


class Daemon:
    """Speaks HTTP/1.1 on a Unix socket. A handler that returns None has answered on the socket itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._handlers: dict[str, Handler] = {}
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, what: str, answer: Handler | Answer | Any) -> None:
        """``what`` is ``"GET /containers/json"``, without the version; ``answer`` a handler, an Answer or a body."""
        if not callable(answer):
            fixed = answer if isinstance(answer, Answer) else Answer(body=answer)
            self._handlers[what] = lambda request: fixed
        else:
            self._handlers[what] = answer

    def asked(self, what: str) -> list[Request]:
        return [one for one in self.requests if f"{one.method} {one.path}" == what]

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        with contextlib.suppress(OSError, ValueError):
            while (request := _read(reader, connection)) is not None:
                self.requests.append(request)
                handler = self._handlers.get(f"{request.method} {request.path}", _unknown)
                answer = handler(request)
                if answer is None:
                    return
                _write(connection, answer)
        connection.close()


def _unknown(request: Request) -> Answer:
    return Answer(501, {"message": f"{request.method} {request.path} is not built"})


def _read(reader: Any, connection: socket.socket) -> Request | None:
    line = reader.readline().decode()
    if not line:
        return None
    method, target, _ = line.split()
    headers = {}
    while (line := reader.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    else:
        body = reader.read(int(headers.get("content-length", 0)))
    parts = urllib.parse.urlsplit(re.sub(r"^/v\d\.\d+", "", target))
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    return Request(method, urllib.parse.unquote(parts.path), query, body, headers, connection)


def _write(connection: socket.socket, answer: Answer) -> None:
    headers = dict(answer.headers)
    body = answer.body
    if isinstance(body, list) and body and isinstance(body[0], bytes):
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"HTTP/1.1 {answer.status} X\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode())
        for piece in body:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        return
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers["Content-Length"] = str(len(data))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode() + (b"" if answer.status == 204 else data))


def upgrade(request: Request, content: str = "application/vnd.docker.multiplexed-stream") -> socket.socket:
    """Answers 101 and hands the connection over."""
    request.socket.sendall(
        f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
    )
    return request.socket


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


class Result(NamedTuple):
    code: int
    out: str
    err: str
