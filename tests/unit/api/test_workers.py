"""The threads of the services' calls."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from sampan.api.workers import Workers


def test_results_and_errors() -> None:
    workers = Workers(2)
    assert workers.submit(lambda a, b: a + b, 1, b=2).result(5) == 3
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(5)
    workers.shutdown()


def test_no_more_than_the_limit_at_once() -> None:
    workers = Workers(2)
    gate, running = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        running.release()
        gate.wait(5)

    futures: list[Future[None]] = [workers.submit(work) for _ in range(3)]
    assert running.acquire(timeout=5)
    assert running.acquire(timeout=5)
    assert not running.acquire(timeout=0.1)
    gate.set()
    for future in futures:
        future.result(5)
    workers.shutdown()
    assert workers.settle(5)


def test_settle_is_bounded() -> None:
    workers = Workers(1)
    gate = threading.Event()
    workers.submit(gate.wait, 5)
    assert not workers.settle(0.05)
    gate.set()
    assert workers.settle(5)
    workers.shutdown()
