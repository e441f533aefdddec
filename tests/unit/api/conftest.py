from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import App
from sampan.api.listen import listen
from sampan.api.server import Server
from sampan.api.workers import Workers
from unit.api.fake_engine import Engine


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Wire:
    """A client that decides what bytes travel, and when."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def head(self) -> tuple[int, dict[str, str]]:
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def chunk(self) -> bytes:
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.read(2) == b"\r\n"
        return data

    def answer(self, method: str = "GET") -> Answer:
        status, headers = self.head()
        body = b""
        if method == "HEAD" or status in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while piece := self.chunk():
                body += piece
        else:
            body = self.file.read(int(headers["content-length"]))
        return Answer(status, headers, body)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None and "Content_Type" not in headers:
            lines.append("Content-Type: application/json")
        self.send("\r\n".join(lines) + "\r\n\r\n")
        self.send(data)
        return self.answer(method)

    def closed(self) -> bool:
        """Whether the other side has nothing more to say."""
        return self.file.read(1) == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def fill(end: socket.socket) -> int:
    """Write until the other side has taken nothing for half a second; returns how many bytes it had taken."""
    before = end.gettimeout()
    end.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 256 << 20:
            sent += end.send(bytes(1 << 16))
    end.settimeout(before)
    return sent


class Daemon:
    """The server on an event loop in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = Engine()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        workers = Workers(8)
        self.server = Server(App(self.engine, workers))  # type: ignore[arg-type]
        await self.server.start(listen([f"unix://{self.path}"]))
        self._ready.set()
        await self._stop.wait()
        await self.server.stop()
        workers.shutdown()
        assert workers.settle(10), "a worker thread hangs"

    def call(self, function: Any, *args: Any) -> None:
        self.loop.call_soon_threadsafe(function, *args)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.call(self._stop.set)
        self._thread.join(15)
        assert not self._thread.is_alive()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path / "s.sock")
    yield running
    running.stop()


@pytest.fixture
def wire(daemon: Daemon) -> Iterator[Wire]:
    client = Wire(daemon.path)
    yield client
    client.close()
