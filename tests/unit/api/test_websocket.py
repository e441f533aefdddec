"""Attaching by a websocket: the stream of an attachment, in frames."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import generate_accept_token

from sampan.api.wire import peer
from unit.api.conftest import Daemon, Wire, fill
from unit.api.fake_engine import running
from unit.api.test_hijack import container_end, read_exactly

KEY = base64.b64encode(b"sixteen bytes of")
ASK = {
    "Host": "localhost",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY.decode(),
    "Origin": "http://localhost",
}
WANTED = "stdin=1&stdout=1&stream=1"


class Client:
    """The client's end, with wsproto's other half."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._frames = Connection(ConnectionType.CLIENT)

    def ask(self, minor: int = 50, query: str = WANTED, **changed: str) -> tuple[int, dict[str, str]]:
        headers = ASK | {name.replace("_", "-"): value for name, value in changed.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        self._wire.send(f"GET /v1.{minor}/containers/web/attach/ws?{query} HTTP/1.1\r\n{lines}\r\n")
        return self._wire.head()

    def send(self, event: Event) -> None:
        self._wire.send(self._frames.send(event))

    def events(self) -> Iterator[Event]:
        """What comes, until the connection ends."""
        while data := self._wire.socket.recv(1 << 16):
            self._frames.receive_data(data)
            yield from self._frames.events()

    def read(self, size: int) -> bytes:
        found = b""
        for event in self.events():
            assert isinstance(event, BytesMessage), event
            found += event.data
            if len(found) >= size:
                break
        return found


@pytest.fixture
def client(daemon: Daemon, wire: Wire) -> Client:
    daemon.engine.containers.add(running())
    return Client(wire)


def test_both_ways(daemon: Daemon, client: Client) -> None:
    status, headers = client.ask()
    assert (status, headers["upgrade"], headers["connection"]) == (101, "websocket", "Upgrade")
    assert headers["sec-websocket-accept"] == generate_accept_token(KEY).decode()
    assert "content-type" not in headers
    end = container_end(daemon)
    client.send(BytesMessage(b"in "))
    client.send(TextMessage("wörds"))
    assert read_exactly(end, 9) == "in wörds".encode()
    end.sendall(b"\xff\0out")
    assert client.read(5) == b"\xff\0out"
    wanted = {"stdin": True, "stdout": True, "stderr": False, "stream": True, "logs": False, "framed": False}
    assert daemon.engine.containers.calls[-1] == ("attach", wanted)


def test_older_clients_get_all_streams_and_the_oldest_get_text(daemon: Daemon, client: Client) -> None:
    client.ask(27, "stream=1")
    end = container_end(daemon)
    end.sendall("ö".encode())
    event = next(client.events())
    assert isinstance(event, TextMessage)
    assert event.data == "ö"
    assert daemon.engine.containers.calls[-1][1]["stderr"]


def test_much_in_pieces_of_any_size(daemon: Daemon, client: Client) -> None:
    client.ask()
    end = container_end(daemon)
    data = os.urandom(3_000_000)
    sending = threading.Thread(target=client.send, args=[BytesMessage(data)])
    sending.start()
    assert read_exactly(end, len(data)) == data
    sending.join()
    sending = threading.Thread(target=end.sendall, args=[data])
    sending.start()
    assert client.read(len(data)) == data
    sending.join()


def test_a_client_that_does_not_read_holds_up_the_container_and_not_the_daemon(daemon: Daemon, client: Client) -> None:
    client.ask()
    assert fill(container_end(daemon)) < 16 << 20


def test_it_is_asked_whether_we_live(daemon: Daemon, client: Client) -> None:
    client.ask()
    client.send(Ping(payload=b"you"))
    assert next(client.events()) == Pong(payload=b"you")
    client.send(BytesMessage(b"on"))
    assert container_end(daemon).recv(10) == b"on"


def test_the_client_says_goodbye(daemon: Daemon, client: Client) -> None:
    client.ask()
    client.send(BytesMessage(b"last"))
    client.send(CloseConnection(code=1000))
    assert [type(event) for event in client.events()] == [CloseConnection]
    end = container_end(daemon)
    assert read_exactly(end, 4) == b"last"
    assert end.recv(1) == b""


def test_the_container_ends(daemon: Daemon, client: Client) -> None:
    client.ask()
    end = container_end(daemon)
    end.sendall(b"words")
    end.close()
    events = client.events()
    assert next(events) == BytesMessage(data=b"words")
    goodbye = next(events)
    assert isinstance(goodbye, CloseConnection)
    assert goodbye.code == 1000
    client.send(goodbye.response())
    assert list(events) == []


@pytest.mark.parametrize("frame", [b"\x82\x01x", b"\xf2\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x81\x81\0\0\0\0\xff"])
def test_frames_that_are_none(daemon: Daemon, wire: Wire, client: Client, frame: bytes) -> None:
    """Not masked, with reserved bits, of no known kind, text that is none."""
    client.ask()
    wire.send(frame)
    assert all(isinstance(event, CloseConnection) for event in client.events())
    assert container_end(daemon).recv(1) == b""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Upgrade", "", "Upgrade to websocket"),
        ("Connection", "close", "Upgrade to websocket"),
        ("Sec_WebSocket_Version", "8", "version 13"),
        ("Sec_WebSocket_Key", "", "16 bytes"),
        ("Sec_WebSocket_Key", "!", "16 bytes"),
    ],
)
def test_what_is_no_request_for_one(
    daemon: Daemon, wire: Wire, client: Client, name: str, value: str, said: str
) -> None:
    status, headers = client.ask(**{name: value})
    assert status == 400
    assert said in wire.file.read(int(headers["content-length"])).decode()
    assert daemon.engine.containers.calls == []


def test_whose_pages_may_ask() -> None:
    for origin, host, page in (
        ("", "10.0.0.7:2375", False),
        ("", "", False),
        ("http://10.0.0.7:2375", "10.0.0.7:2375", False),
        ("http://[::1]:2375", "[::1]:2375", False),
        ("http://localhost", "localhost", False),
        ("http://evil.example", "10.0.0.7:2375", True),
        ("http://rebound.example:2375", "rebound.example:2375", True),
        ("http://localhost", "", False),
        ("null", "10.0.0.7:2375", True),
    ):
        assert peer.is_page(origin, host) == page, origin
