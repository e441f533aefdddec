"""Running a monitor once in the launcher, for nothing, before any real one is forked.

Much of what an interpreter writes, it writes the first time only: caches of attributes, versions of types, specialised
bytecode. Done before the fork, it stays shared by all monitors (0.14 MB less for each) and takes no time after it.
"""

from __future__ import annotations

import _socket
import gc
import os

from sampan.linux import messages, mounts
from sampan.linux.suppress import suppress
from sampan.monitor import monitor
from sampan.monitor.starter import Starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_filling: list[bytes] = []
"""Imports leave holes all over the heap. These are filled, so that what is made later lies together, in few pages."""
_HEADER = 33  # bytes, of a bytes object
_SIZES = range(48, 513, 16)  # of Python's own allocator (obmalloc.c)
_HOLES = 40
ROUNDS = 16  # the interpreter specialises code when it has run it eight times


_LANDING = (("tcp", "192.0.2.1", 80), ("::", 80))


class _Nothing:
    """A runtime that starts nothing."""

    @staticmethod
    def start(_order: object, _root: int, _stdio: object) -> tuple[int, int]:
        return 0, -1


def rehearse() -> None:
    """Leaves no descriptor, process or file behind. Needs SIGCHLD to be ignored, which reaps the starters."""
    gc.collect()
    _filling.extend(bytes(size - _HEADER) for size in _SIZES for _ in range(_HOLES))
    before = _descriptors()
    try:
        directory = mounts.filesystem("tmpfs")  # nobody sees it, and it goes with its descriptor
    except OSError:
        return  # without root only memory is lost
    for _ in range(ROUNDS):
        _round(f"/proc/self/fd/{directory}")
    gc.collect()
    for fd in _descriptors() - before:
        with suppress(OSError):  # the one through which they were listed
            os.close(fd)


def _descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - names


def warm() -> None:
    """In a monitor that waits: what it will write when it is told, it has copied by then, and copies nothing more."""
    ends, message, fds = _told(_message(None))
    streams = monitor.Streams(message)
    monitor.Watch(message, _Nothing, streams, fds[2:], fds[1]).turn(0)
    for fd in (*streams.theirs, streams.input, streams.output, streams.error, *fds):
        os.close(fd)
    for each in ends:
        each.close()


def _told(message: dict[str, Any]) -> tuple[list[Any], dict[str, Any], list[int]]:
    """A message as a monitor receives it, with its descriptors; and the sockets that belong to it."""
    daemon, control = messages.pair()
    client, stream = _socket.socketpair()
    order = messages.keep({})
    boxes = [messages.box([(_LANDING, client.fileno())])] if message["landings"] else []
    messages.send(daemon, message, [control.fileno(), order, *(each.fileno() for each in (stream, *boxes))])
    os.close(order)
    for each in boxes:
        each.close()
    received, fds = messages.receive(control)
    return [daemon, control, client, stream], received, fds


def _round(directory: str) -> None:
    ends, message, fds = _told(_message(directory))
    starter = Starter(_Nothing, lambda _module: _Nothing, None)
    streams = monitor.Streams(message)
    starter.ask(message, fds[:2], streams.theirs)
    watch = monitor.Watch(message, _Nothing, streams, fds[2:], fds[1])
    pid, _ = starter.answer()
    watch.begin(messages.connect(fds[0]), pid, -1)
    streams.given()
    watch.turn(0)
    with suppress(ChildProcessError):  # the kernel has reaped it
        starter.reap()
    for each in ends:
        each.close()


def _message(directory: str | None) -> dict[str, Any]:
    log = {"path": f"{directory}/log", "max_size": 1 << 20, "max_file": 2, "extra": ""}
    return {
        "key": "rehearsal",
        "kind": "start",
        "module": "nothing",
        "root": False,
        "tty": False,
        "stdin": True,
        "stdin_once": True,
        "log": log if directory else None,
        "streams": [(True, True, True)],
        "landings": directory is not None,
        "size": None,
        "directory": directory,
    }
