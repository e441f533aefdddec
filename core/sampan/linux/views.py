"""File systems as somebody else sees them: roots of foreign mount namespaces, and trees put together for ourselves.

All of it is done in short-lived threads with namespaces of their own (setns(2), unshare(2)); what comes back are
descriptors, through which everything below is reached with openat2(2). Nothing shows in the host's mount table, and
nothing is left if the process dies.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sampan.linux import mounts
from sampan.linux.namespaces import CLONE_FS, CLONE_NEWNS, setns, unshare
from sampan.linux.paths import DIRECTORY

T = TypeVar("T")

_PLACE = "/proc"  # a mount point that every machine has, and that nobody needs in a namespace of our own


def root_of(namespace: int) -> int:
    """The root directory (``O_PATH``) of a mount namespace, with all that is mounted in it."""

    def enter() -> int:
        _join(namespace)
        return os.open("/", DIRECTORY | os.O_CLOEXEC)

    return _aside(enter)


def bare_root_of(namespace: int) -> int:
    """A detached copy of the mount that is the root of a mount namespace, without what is mounted on it."""

    def enter() -> int:
        _join(namespace)
        return mounts.bind("/")

    return _aside(enter)


def dressed(root: int, dress: Callable[[int], None]) -> tuple[int, int]:
    """``root``, a detached mount, in a namespace where ``dress`` may attach mounts below it.

    Returns the root directory (``O_PATH``) and the namespace; the mounts last until both are closed.
    ``dress`` gets the former, in a thread that sees no ``/proc``.
    """

    def build() -> tuple[int, int]:
        unshare(CLONE_NEWNS)
        mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        namespace = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        here = -1
        try:
            mounts.attach(root, _PLACE)
            here = os.open(_PLACE, DIRECTORY | os.O_CLOEXEC)
            dress(here)
        except BaseException:
            os.close(namespace)
            if here >= 0:
                os.close(here)
            raise
        return here, namespace

    return _aside(build)


def placed(mount: int, work: Callable[[Path], T]) -> T:
    """The result of ``work``, which gets a path where ``mount``, a detached mount, is attached for it alone.

    For calls that take paths: before Linux 6.15 they know nothing of detached mounts. ``work`` sees no ``/proc``.
    """

    def run() -> T:
        unshare(CLONE_NEWNS)
        mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.attach(mount, _PLACE)
        return work(Path(_PLACE))

    return _aside(run)


def namespace_of(pid: int, ancestor: int, kind: str = "mnt") -> int:
    """A namespace of a process that descends from ``ancestor``, by default its mount namespace (namespaces(7), "The
    /proc/pid/ns/ directory"); ``ProcessLookupError`` if it does not, for then its pid is somebody else's by now, or if
    it is gone."""
    try:
        process = os.open(f"/proc/{pid}", DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProcessLookupError(3, "no such process", str(pid)) from None
    try:
        namespace = os.open(f"ns/{kind}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        try:
            _check_ancestor(process, ancestor)
        except BaseException:
            os.close(namespace)
            raise
        return namespace
    except FileNotFoundError:
        raise ProcessLookupError(3, "no such process", str(pid)) from None
    finally:
        os.close(process)


_GENERATIONS = 4  # a runtime may put a process or two between the monitor and the init


def _check_ancestor(process: int, ancestor: int) -> None:
    fd = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    with open(fd) as file:  # noqa: PTH123 - a descriptor
        text = file.read()
    for _ in range(_GENERATIONS):
        parent = int(text.rpartition(")")[2].split()[1])
        if parent == ancestor:
            return
        if parent <= 1:
            break
        text = Path(f"/proc/{parent}/stat").read_text()
    raise ProcessLookupError(3, "the process is not the one that was meant")


def _join(namespace: int) -> None:
    unshare(CLONE_FS)
    setns(namespace, CLONE_NEWNS)


def _aside(work: Callable[[], T]) -> T:
    """The result of ``work`` in a thread of its own, which takes its namespaces with it when it ends."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="view")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
