"""Bodies so long that the thread which reads them is lent the client's socket."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.wire import body, connection
from unit.api.conftest import Daemon, Wire

PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
SIZE = 6_000_000  # more than a reader is patient for
START = 3_000_000  # that is, too


def plain(data: bytes) -> bytes:
    return f"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def chunked(data: bytes) -> bytes:
    chunks = [data[at : at + 32768] for at in range(0, len(data), 32768)]
    return (
        b"POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
        + b"0\r\n\r\n"
    )


@pytest.fixture(autouse=True)
def loans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that were made."""
    made: list[Any] = []

    class Noted(connection.Loan):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self.left)

    monkeypatch.setattr(connection, "Loan", Noted)
    return made


def sent_aside(wire: Wire, data: bytes, loans: list[Any], *more: int, beside: int = 0) -> threading.Thread:
    """A sender of ``data``. What is behind ``START``, and behind each of ``more``, goes when there is one loan more for
    this and for each of those ``beside`` it: a reader that is slower than its client never waits, and asks for none."""
    pieces = [data[start:end] for start, end in itertools.pairwise((0, START, *more, len(data)))]

    def send() -> None:
        with contextlib.suppress(OSError):  # the test looks at what the daemon says
            for number, piece in enumerate(pieces):
                wait_for(loans, number * (1 + beside))
                wire.send(piece)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def wait_for(loans: list[Any], count: int) -> None:
    """But not for ever: the test says what is missing."""
    deadline = time.monotonic() + 10
    while len(loans) < count and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize("form", [plain, chunked])
def test_all_of_it_arrives_and_so_does_what_is_behind_it(
    daemon: Daemon, wire: Wire, loans: list[Any], form: Callable[[bytes], bytes]
) -> None:
    once = form(bytes(SIZE)) + PING
    sending = sent_aside(wire, once + once, loans, len(once) + START)
    for _ in range(2):
        assert b"Loaded image" in wire.answer().body
        assert wire.answer().body == b"OK"
    assert daemon.engine.images.received == 2 * SIZE
    sending.join()
    assert len(loans) == 2


@pytest.mark.parametrize("form", [plain, chunked])
def test_a_short_one_is_not_worth_it(wire: Wire, loans: list[Any], form: Callable[[bytes], bytes]) -> None:
    wire.send(form(bytes(500_000)) + PING)
    assert wire.answer().status == 200
    assert wire.answer().body == b"OK"
    assert loans == []


@pytest.mark.parametrize("form", [plain, chunked])
def test_it_is_cut_off(daemon: Daemon, wire: Wire, loans: list[Any], form: Callable[[bytes], bytes]) -> None:
    sending = sent_aside(wire, form(bytes(SIZE))[:-1_000_000], loans)
    sending.join()
    wire.socket.shutdown(socket.SHUT_WR)
    answer = wire.answer()
    assert (answer.status, "closed before" in answer.message) == (400, True)
    assert len(loans) == 1
    assert wire.closed()


def test_the_client_is_gone(daemon: Daemon, wire: Wire, loans: list[Any]) -> None:
    sent_aside(wire, plain(bytes(SIZE))[:-1_000_000], loans).join()
    wire.file.close()
    wire.socket.close()
    other = Wire(daemon.path)
    other.send(PING)
    assert other.answer().body == b"OK"


def test_a_broken_chunk_in_the_middle(wire: Wire, loans: list[Any]) -> None:
    sent_aside(wire, chunked(bytes(SIZE))[:-5] + b"what?\r\n", loans).join()
    answer = wire.answer()
    assert (answer.status, "is not a number" in answer.message) == (400, True)
    assert len(loans) == 1
    assert wire.closed()


def test_the_handler_gives_up_in_the_middle(daemon: Daemon, wire: Wire, loans: list[Any]) -> None:
    sending = sent_aside(wire, plain(bytes(4_000_000) + b"corrupt" * 2_000_000) + PING, loans)
    answer = wire.answer()
    assert (answer.status, answer.json["error"]) == (200, "the archive is corrupt")
    sending.join()
    assert len(loans) == 1


def test_little_is_left_when_the_handler_gives_up(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is read by the event loop again."""
    monkeypatch.setattr(body, "HIGH", 200_000)
    wire.send(plain(bytes(500_000) + b"corrupt" * 10_000))
    answer = wire.answer()
    assert (answer.status, answer.json["error"]) == (200, "the archive is corrupt")
    if answer.headers.get("connection") == "close":  # it had not come yet
        assert wire.closed()
    else:
        wire.send(PING)
        assert wire.answer().body == b"OK"


@pytest.mark.parametrize("form", [plain, chunked])
def test_the_handler_knows_where_it_ends(wire: Wire, loans: list[Any], form: Callable[[bytes], bytes]) -> None:
    """It does not wait to be told so: what is behind it is another request all the same."""
    sending = sent_aside(wire, form(bytes(SIZE) + b"enough") + PING, loans)
    assert b"Loaded image" in wire.answer().body
    assert wire.answer().body == b"OK"
    sending.join()
    assert len(loans) == 1


def test_a_client_that_pauses(daemon: Daemon, wire: Wire, loans: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "STALLED", 0.5)
    sent_aside(wire, plain(bytes(SIZE))[:-1], loans).join()
    answer = wire.answer()
    assert (answer.status, "sent nothing" in answer.json["error"]) == (200, True)
    assert len(loans) == 1


def test_many_at_once(daemon: Daemon, loans: list[Any]) -> None:
    wires = [Wire(daemon.path) for _ in range(6)]
    forms = [plain, chunked] * 3
    sending = [sent_aside(wire, form(bytes(SIZE)), loans, beside=5) for wire, form in zip(wires, forms, strict=True)]
    assert [wire.answer().status for wire in wires] == [200] * 6
    for thread in sending:
        thread.join()
    assert len(loans) == 6
