"""The one thread for what happens later."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sampan.containers.clock import Clock
from unit.containers.container_house import eventually


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    yield made
    made.close()


def test_appointments_are_kept_in_their_order_and_none_early(clock: Clock) -> None:
    kept: list[tuple[int, float]] = []
    made = [
        clock.later(seconds, lambda number=number: kept.append((number, time.monotonic())))  # type: ignore[misc]
        for number, seconds in enumerate((0.06, 0.0, 0.03))
    ]
    eventually(lambda: len(kept) == 3)
    due = [made[number].at for number, _ in kept]
    assert due == sorted(due)
    assert all(at >= made[number].at for number, at in kept)


def test_what_is_cancelled_does_not_happen_and_one_that_fails_stops_no_other(clock: Clock) -> None:
    kept: list[str] = []
    cancelled = clock.later(0.01, lambda: kept.append("cancelled"))
    clock.later(0.01, lambda: 1 / 0)
    clock.later(0.02, lambda: kept.append("kept"))
    cancelled.cancel()
    cancelled.cancel()
    eventually(lambda: kept)
    assert kept == ["kept"]


def test_a_socket_is_watched_until_it_is_not(clock: Clock) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        heard: list[bytes] = []
        clock.watch(ours.fileno(), lambda: heard.append(ours.recv(10)))
        theirs.send(b"one")
        eventually(lambda: heard == [b"one"])
        clock.unwatch(ours.fileno())
        theirs.send(b"two")
        done = threading.Event()
        clock.later(0.01, done.set)
        assert done.wait(10)
        assert heard == [b"one"]


def test_nothing_to_do_is_no_thread_and_nothing_happens_after_the_end() -> None:
    clock, kept = Clock(), []
    assert clock._thread is None
    clock.later(60, lambda: kept.append(1))
    clock.close()
    clock.later(0, lambda: kept.append(2))
    assert not kept
