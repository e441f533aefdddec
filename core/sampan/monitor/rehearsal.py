"""Running a monitor once in the launcher, for nothing, before any real one is forked.

Much of what an interpreter writes, it writes the first time only: caches of attributes, versions of types, specialised
bytecode. Done before the fork, it stays shared by all monitors (0.14 MB less for each) and takes no time after it.
"""

from __future__ import annotations

import _socket
import os

from sampan.linux import messages
from sampan.linux.suppress import suppress
from sampan.monitor import monitor
from sampan.monitor.starter import Starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROUNDS = 3  # the interpreter specialises what it has seen a few times


class _Nothing:
    """A runtime that starts nothing."""

    @staticmethod
    def start(_order: object, _root: int, _stdio: object) -> tuple[int, int]:
        return 0, -1


def rehearse() -> None:
    """Leaves no descriptor, process or file behind. Needs SIGCHLD to be ignored, which reaps the starters."""
    for _ in range(_ROUNDS):
        _round()


def _round() -> None:
    daemon, control = messages.pair()
    client, stream = _socket.socketpair()
    messages.send(daemon, _message(), [control.fileno(), stream.fileno()])
    message, fds = messages.receive(control)
    starter = Starter(_Nothing, lambda _module: _Nothing, ahead=False)
    streams = monitor.Streams(message)
    pid, _ = starter.start(message, fds[0], -1, streams.theirs)
    streams.given()
    watch = monitor.Watch(message, _Nothing, messages.connect(fds[0]), pid, -1)
    watch.open(streams, -1, fds[1:])
    watch.turn(0)
    for fd in (streams.output, streams.error, streams.input, fds[1]):
        with suppress(OSError):  # closed already, if the starter was quick to end
            os.close(fd)
    for each in (daemon, control, client, stream):
        each.close()


def _message() -> dict[str, Any]:
    return {
        "key": "rehearsal",
        "kind": "start",
        "module": "nothing",
        "order": messages.dumps({}),
        "root": False,
        "tty": False,
        "stdin": True,
        "stdin_once": True,
        "log": {"path": "/dev/null", "max_size": 0, "max_file": 1},
        "streams": [(True, True, True)],
        "size": None,
        "directory": None,
    }
