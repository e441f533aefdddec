"""The relay between a container's streams and its clients, on real pipes and socket pairs."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sampan.monitor.relay import Loop, Relay

STDOUT, STDERR = 1, 2
EVERYTHING = (True, True, True)
MEGABYTE = 1 << 20
PATIENCE = 10.0


class Harness:
    """A relay with the container's end of each stream in our hands."""

    def __init__(self, *, tty: bool = False, stdin_once: bool = True, log: Any = None) -> None:
        self.loop = Loop()
        self.relay = Relay(self.loop, log, tty=tty, stdin_once=stdin_once)
        out, self.stdout = os.pipe()
        err, self.stderr = os.pipe()
        self.stdin, sink = os.pipe()
        self.relay.source(out, STDOUT)
        self.relay.source(err, STDERR)
        self.relay.sink(sink)
        os.set_blocking(self.stdin, False)
        self._ours: list[socket.socket] = []

    def attach(self, wants: tuple[bool, bool, bool] = EVERYTHING) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        self.relay.attach(theirs.detach(), wants)
        self._ours.append(ours)
        return ours

    def turn(self, condition: Callable[[], object] = lambda: False) -> None:
        """Serve until the condition holds, or, without one, until nothing is left to do."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.loop.turn(0.02) and condition() is False:
                return
            assert time.monotonic() < deadline

    def input(self) -> bytes | None:
        """What has arrived in the container; None for the end of the input."""
        try:
            return os.read(self.stdin, MEGABYTE) or None
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for each in self._ours:
            each.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Harness]]:
    made: list[Harness] = []

    def factory(**settings: Any) -> Harness:
        made.append(Harness(**settings))
        return made[-1]

    yield factory
    for each in made:
        each.close()


@pytest.fixture
def harness(make: Callable[..., Harness]) -> Harness:
    return make()


def available(client: socket.socket) -> bytes:
    client.setblocking(False)
    found = b""
    try:
        while piece := client.recv(MEGABYTE):
            found += piece
    except BlockingIOError:
        pass
    client.settimeout(PATIENCE)
    return found


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        assert data[1:4] == b"\0\0\0"
        size = int.from_bytes(data[4:8], "big")
        found.append((data[0], data[8 : 8 + size]))
        data = data[8 + size :]
    return found


def test_output_goes_to_clients_in_frames(harness: Harness) -> None:
    client = harness.attach()
    os.write(harness.stdout, b"out")
    harness.turn()
    os.write(harness.stderr, b"err")
    harness.turn()
    assert available(client) == b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err"


def test_a_terminals_output_is_bare(make: Callable[..., Harness]) -> None:
    harness = make(tty=True)
    client = harness.attach()
    os.write(harness.stdout, b"out\r\n")
    harness.turn()
    assert available(client) == b"out\r\n"


def test_each_client_gets_what_it_wants(harness: Harness) -> None:
    both, out, err, nothing = (
        harness.attach(wants)
        for wants in (EVERYTHING, (False, True, False), (False, False, True), (True, False, False))
    )
    os.write(harness.stdout, b"o")
    harness.turn()
    os.write(harness.stderr, b"e")
    harness.turn()
    assert frames(available(both)) == [(1, b"o"), (2, b"e")]
    assert frames(available(out)) == [(1, b"o")]
    assert frames(available(err)) == [(2, b"e")]
    assert available(nothing) == b""


def test_input_reaches_the_container(harness: Harness) -> None:
    client = harness.attach()
    client.sendall(b"in")
    harness.turn()
    assert harness.input() == b"in"


def test_input_of_a_client_that_is_not_for_input_is_ignored(harness: Harness) -> None:
    client = harness.attach((False, True, True))
    client.sendall(b"in")
    harness.turn()
    assert harness.input() == b""


def test_half_closing_ends_the_input_and_output_still_comes(harness: Harness) -> None:
    client = harness.attach()
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    harness.turn()
    assert (harness.input(), harness.input()) == (b"last", None)
    os.write(harness.stdout, b"answer")
    harness.turn()
    assert frames(available(client)) == [(1, b"answer")]


def test_input_that_stays_open_outlives_its_client(make: Callable[..., Harness]) -> None:
    harness = make(stdin_once=False)
    first = harness.attach()
    first.sendall(b"one")
    first.close()
    harness.turn()
    assert harness.input() == b"one"
    harness.attach().sendall(b"two")
    harness.turn()
    assert harness.input() == b"two"


def test_a_client_that_goes_ends_the_input_that_is_for_one_client(harness: Harness) -> None:
    harness.attach().close()
    harness.turn()
    assert harness.input() is None


def test_a_client_that_goes_does_not_disturb_the_others(harness: Harness) -> None:
    gone, stays = harness.attach(), harness.attach()
    gone.close()
    os.write(harness.stdout, b"x" * 1000)
    harness.turn()
    assert frames(available(stays)) == [(1, b"x" * 1000)]


def test_a_container_that_does_not_read_holds_its_clients_up_and_loses_nothing(harness: Harness) -> None:
    client = harness.attach()
    sent = os.urandom(2 * MEGABYTE)

    def send() -> None:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    harness.turn()
    assert sender.is_alive(), "the relay does not swallow everything"
    received = b""
    while (piece := harness.input()) is not None:
        received += piece
        harness.loop.turn(0.01)
    sender.join()
    assert received == sent


def test_what_a_client_sent_before_it_went_is_not_lost(harness: Harness) -> None:
    client = harness.attach((True, False, False))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
    sent = os.urandom(200_000)
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    harness.turn()  # until both the pipe and the relay are full
    sender.join()
    client.close()
    harness.turn()
    received = b""
    while (piece := harness.input()) is not None:
        received += piece
        harness.loop.turn(0.01)
    assert received == sent


def test_a_container_that_closed_its_input_gets_none_and_lives_on(harness: Harness) -> None:
    client = harness.attach()
    os.close(harness.stdin)
    client.sendall(b"nobody reads this")
    harness.turn()
    client.sendall(b"nor this")
    harness.turn()
    os.write(harness.stdout, b"still here")
    harness.turn()
    assert frames(available(client)) == [(1, b"still here")]


def test_a_client_that_does_not_read_makes_the_container_wait(harness: Harness) -> None:
    client = harness.attach()
    os.set_blocking(harness.stdout, False)
    written = 0

    def full() -> bool:
        nonlocal written
        try:
            written += os.write(harness.stdout, b"x" * 65536)
        except BlockingIOError:
            return not harness.loop.turn(0.01)
        harness.loop.turn(0)
        return False

    deadline = time.monotonic() + PATIENCE
    while not full():
        assert written < 8 * MEGABYTE, "the relay takes more than it can get rid of"
        assert time.monotonic() < deadline
    received = available(client)
    while piece := harness.loop.turn(0.05) and available(client):
        received += piece
    assert sum(len(data) for _, data in frames(received)) == written
    os.write(harness.stdout, b"more")
    harness.turn()
    assert available(client).endswith(b"more"), "it goes on"


def test_at_the_end_everything_is_delivered_even_to_a_slow_client(harness: Harness) -> None:
    client = harness.attach()
    sent = os.urandom(60_000)
    os.write(harness.stdout, sent)
    os.close(harness.stdout)
    os.close(harness.stderr)
    received = bytearray()

    def read_slowly() -> None:
        while piece := client.recv(1000):
            received.extend(piece)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    harness.relay.drain()
    harness.relay.finish(PATIENCE)
    reader.join(PATIENCE)
    assert b"".join(data for _, data in frames(bytes(received))) == sent


def test_at_the_end_a_client_that_takes_nothing_is_given_up(harness: Harness) -> None:
    client = harness.attach()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(8):
        os.write(harness.stdout, b"x" * 60_000)
        harness.turn()
    harness.relay.drain()
    began = time.monotonic()
    harness.relay.finish(0.1)
    assert time.monotonic() - began < PATIENCE / 2


def test_the_end_does_not_wait_for_one_that_goes_on_writing(harness: Harness) -> None:
    """``exec CONTAINER sh -c 'yes &'``: the shell has ended, and with it the exec."""
    client = harness.attach()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            try:
                os.write(harness.stdout, b"y\n" * 30_000)
            except BrokenPipeError:
                return

    def read() -> None:
        while client.recv(MEGABYTE):
            pass

    threads = [threading.Thread(target=each) for each in (write, read)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    try:
        harness.relay.drain()
        harness.relay.finish(PATIENCE)
    finally:
        stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2


def test_all_output_is_logged_whether_somebody_is_attached_or_not(make: Callable[..., Harness]) -> None:
    class Log:
        def __init__(self) -> None:
            self.lines: list[tuple[int, bytes]] = []
            self.closed = False

        def write(self, stream: int, data: bytes) -> None:
            self.lines.append((stream, data))

        def close(self) -> None:
            self.closed = True

    log = Log()
    harness = make(log=log)
    os.write(harness.stdout, b"alone")
    harness.turn()
    harness.attach((False, False, False))
    os.write(harness.stderr, b"attached")
    harness.turn()
    os.write(harness.stdout, b"last")
    harness.relay.drain()
    assert log.lines == [(1, b"alone"), (2, b"attached"), (1, b"last")]
    assert log.closed


def test_a_stream_that_the_container_closed_is_no_burden(harness: Harness) -> None:
    os.close(harness.stdout)
    harness.turn()
    client = harness.attach()
    os.write(harness.stderr, b"err")
    harness.turn()
    assert frames(available(client)) == [(2, b"err")]
    assert not harness.loop.turn(0), "nothing keeps the loop busy"
