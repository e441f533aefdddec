"""HTTP/1.1 over a unix socket, kept open: as little client as possible between the clock and the engine."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any


class WarmConnection:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = self._connect()

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded body of the answer; ``RuntimeError`` if it is an error."""
        self._socket.sendall(_request(method, path, body))
        status, content = _answer(self._socket)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {content.decode(errors='replace').strip()}")
        return json.loads(content) if content else None

    def to_the_end(self, method: str, path: str, body: Any = None) -> bytes:
        """An answer that ends with its connection (an exec's output): on a connection of its own."""
        connection = self._connect()
        try:
            connection.sendall(_request(method, path, body))
            found = bytearray()
            while piece := connection.recv(1 << 16):
                found += piece
        finally:
            connection.close()
        return bytes(found)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(self._path))
        return connection


def _request(method: str, path: str, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /v1.41{path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(content)}\r\n"
    return (head + ("Content-Type: application/json\r\n" if content else "") + "\r\n").encode() + content


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection)
    head, rest = data[:end].decode().lower().split("\r\n"), data[end + 4 :]
    headers = dict(line.split(": ", 1) for line in head[1:])
    status = int(head[0].split()[1])
    if headers.get("transfer-encoding") == "chunked":
        return status, _chunks(connection, rest)
    length = int(headers.get("content-length", 0))
    while len(rest) < length:
        rest += _more(connection)
    return status, bytes(rest)


def _chunks(connection: socket.socket, rest: bytearray) -> bytes:
    content = b""
    while True:
        while (end := rest.find(b"\r\n")) < 0:
            rest += _more(connection)
        size = int(rest[:end], 16)
        while len(rest) < end + 2 + size + 2:
            rest += _more(connection)
        content += rest[end + 2 : end + 2 + size]
        del rest[: end + 2 + size + 2]
        if size == 0:
            return content


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise RuntimeError("the engine closed the connection")
    return data
