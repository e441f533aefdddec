"""HTTP itself: what comes in pieces, in heaps, too large, broken or never."""

from __future__ import annotations

import socket
import time

import pytest

from sampan.api.wire import connection
from unit.api.conftest import Daemon, Wire, fill
from unit.api.fake_engine import running

PING = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"


def test_ping_says_who_is_there(wire: Wire) -> None:
    answer = wire.ask("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["api-version"] == "1.50"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["docker-experimental"] == "false"
    assert answer.headers["builder-version"] == "1"
    assert answer.headers["server"].startswith("Sampan/")


def test_head_has_the_headers_and_no_body(wire: Wire) -> None:
    answer = wire.ask("HEAD", "/_ping")
    assert answer.headers["content-length"] == "2"
    assert wire.ask("GET", "/_ping").body == b"OK"  # nothing of a body was left on the connection


def test_pipelined_requests_are_answered_in_order(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.send(
        PING + "GET /containers/web/json HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert wire.answer().body == b"OK"
    assert wire.answer().json["Name"] == "/web"
    assert wire.answer().json["ApiVersion"] == "1.50"


def test_a_request_byte_by_byte(wire: Wire) -> None:
    for byte in PING.encode():
        wire.send(bytes([byte]))
    assert wire.answer().body == b"OK"


def test_empty_lines_before_a_request(wire: Wire) -> None:
    wire.send("\r\n\r\n" + PING)
    assert wire.answer().body == b"OK"


def test_http_1_0_closes(wire: Wire) -> None:
    wire.send("GET /_ping HTTP/1.0\r\n\r\n")
    assert wire.answer().body == b"OK"
    assert wire.closed()


def test_connection_close_is_honoured(wire: Wire) -> None:
    wire.send("GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert wire.answer().headers["connection"] == "close"
    assert wire.closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # the first bytes of TLS
        (b"hello\r\n\r\n", 400),
        (b"GET /_ping HTTP/2.0\r\n\r\n", 505),
        (b"GET /_ping HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /_ping HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /_ping HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_not_a_request_gets_one_sentence(wire: Wire, daemon: Daemon, sent: bytes, status: int) -> None:
    wire.send(sent)
    answer = wire.answer()
    assert answer.status == status
    assert answer.message
    assert wire.closed()
    other = Wire(daemon.path)
    assert other.ask("GET", "/_ping").status == 200
    other.close()


def test_garbage_behind_a_request_does_not_harm_it(wire: Wire) -> None:
    wire.send(PING + "\x00\x01\x02 what?\r\n\r\n")
    assert wire.answer().body == b"OK"
    assert wire.answer().status == 400
    assert wire.closed()


def test_a_chunked_body_and_the_request_behind_it(daemon: Daemon, wire: Wire) -> None:
    head = "POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.send(head + "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n" + PING)
    assert b"Loaded image" in wire.answer().body
    assert wire.answer().body == b"OK"
    assert daemon.engine.images.received == 11


@pytest.mark.parametrize("bad", ["5\r\nhelloX", "x\r\n", "-1\r\n", "\r\n", "fffffffffffffffff\r\n", "1" * 9000])
def test_broken_chunks(wire: Wire, bad: str) -> None:
    wire.send("POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(bad + "\r\n\r\n")
    assert wire.answer().status == 400
    assert wire.closed()


def test_a_body_that_is_cut_off_ends_the_handler(daemon: Daemon, wire: Wire) -> None:
    wire.send("POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    wire.socket.shutdown(socket.SHUT_WR)
    answer = wire.answer()
    assert answer.status == 400
    assert "closed before" in answer.message


def test_expect_100_continue(wire: Wire) -> None:
    wire.send("POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert wire.head() == (100, {})
    wire.send("abc")
    assert wire.answer().status == 200


def test_no_continue_for_what_is_refused(wire: Wire) -> None:
    wire.send("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    answer = wire.answer()
    assert answer.status == 404
    assert answer.headers["connection"] == "close"


def test_little_that_is_left_of_a_body_is_read_before_it_is_refused(wire: Wire) -> None:
    """Or docker cp complains of its own pipe besides."""
    wire.send("PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    wire.send(bytes(60_000))
    wire.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        wire.socket.recv(1, socket.MSG_PEEK)
    wire.socket.settimeout(10)
    wire.send(bytes(40_000) + PING.encode())
    assert wire.answer().status == 404
    assert wire.answer().body == b"OK"


def test_nobody_waits_long_for_what_is_not_wanted(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PASS_OVER", 0.1)
    wire.send("PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
    answer = wire.answer()
    assert (answer.status, answer.headers["connection"]) == (404, "close")
    wire.send(bytes(99_997))
    assert wire.closed()


def test_a_large_upload_is_held_back_while_nobody_reads(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.images.gate.clear()
    size = 64 << 20
    wire.send(f"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")
    sent = fill(wire.socket)
    assert sent < 8 << 20  # what the kernel and the daemon hold together
    daemon.engine.images.gate.set()
    wire.send(bytes(size - sent))
    assert wire.answer().status == 200
    assert daemon.engine.images.received == size


def test_an_error_while_the_upload_goes_on_is_still_read(wire: Wire) -> None:
    wire.send("POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
    wire.send(b"corrupt" + bytes(3_000_000))
    answer = wire.answer()
    assert (answer.status, answer.json["error"]) == (200, "the archive is corrupt")
    assert answer.headers["connection"] == "close"


def test_a_long_download_waits_for_a_slow_client(wire: Wire) -> None:
    wire.send("GET /images/get?names=busybox HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.2)  # let the daemon run into the full socket
    assert len(wire.answer().body) == 64 * 65536


def test_a_client_that_leaves_a_download_stops_it(daemon: Daemon, wire: Wire) -> None:
    wire.send("GET /images/get?names=busybox HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.head()
    wire.close()
    other = Wire(daemon.path)
    assert other.ask("GET", "/_ping").status == 200
    other.close()


def test_json_bodies_are_bounded(wire: Wire) -> None:
    wire.send("POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    wire.send(bytes(8_400_000))
    answer = wire.answer()
    assert answer.status == 400
    assert "larger than" in answer.message


def test_an_early_end_of_the_clients_side_still_gets_the_answer(daemon: Daemon, wire: Wire) -> None:
    daemon.engine.containers.add(running())
    wire.send("GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.answer().json[0]["Names"] == ["/web"]
    assert wire.closed()


def test_stop_ends_idle_connections_and_streams(daemon: Daemon, wire: Wire) -> None:
    follower = Wire(daemon.path)
    follower.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    assert follower.head()[0] == 200
    assert wire.ask("GET", "/_ping").status == 200
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 5
    assert wire.closed()
    assert follower.closed()
    assert not daemon.path.exists()
