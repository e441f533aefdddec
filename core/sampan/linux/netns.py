"""Network namespaces: making them, and working inside them from a process that stays outside (namespaces(7))."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sampan.linux.namespaces import CLONE_NEWNET, setns, unshare

T = TypeVar("T")

THIS = "/proc/thread-self/ns/net"


def current() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open(THIS, os.O_RDONLY | os.O_CLOEXEC)


def inside(namespace: Path | str | int, work: Callable[[], T]) -> T:
    """What ``work`` gives when it is done in a thread inside the namespace (a path or a descriptor).

    A socket belongs to the namespace in which it was made: open it like this, then use it from anywhere. The thread
    ends with the work, so that no thread of a pool can be left in the wrong namespace.
    """

    def enter() -> T:
        fd = namespace if isinstance(namespace, int) else os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, CLONE_NEWNET)
        finally:
            if fd is not namespace:
                os.close(fd)
        return work()

    return _in_thread(enter)


@contextmanager
def visiting(namespace: int) -> Iterator[None]:
    """Have the calling thread itself inside for a moment. Only for threads that are nobody else's: should it not find
    back, it raises, and must end.

    It takes ten microseconds, where :func:`inside` takes a hundred.
    """
    home = current()
    try:
        setns(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def create(prepare: Callable[[], None]) -> int:
    """A descriptor of a new network namespace, after ``prepare`` was called inside it.

    The namespace lives as long as the descriptor, whatever else holds it, or a mount of it (see ``ip-netns(8)``).
    """

    def make() -> int:
        unshare(CLONE_NEWNET)
        prepare()
        return current()

    return _in_thread(make)


def throwaway(work: Callable[[], T]) -> T:
    """What ``work`` gives when it is done in a network namespace of its own, which is gone afterwards."""

    def make() -> T:
        unshare(CLONE_NEWNET)
        return work()

    return _in_thread(make)


def _in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
