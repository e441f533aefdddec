"""The starter: a short-lived child of the monitor in which the runtime's half makes the container's process.

An idle container costs the pages that its monitor has written to since it was forked. Reading an order and starting a
container touches half a megabyte, which this way goes when the starter goes. It is forked before there is an order,
so that none of that takes time when one comes; and it lets the runtime make ahead what it can.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

from sampan.errors import StartFailed
from sampan.linux import messages, process
from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


LESS = 10
"""How much nicer a process becomes when whoever it has told its news is in more of a hurry (setpriority(2))."""


class Starter:
    """The monitor's side.

    ``ahead`` are the arguments for the runtime's ``ready``, None if nothing is to be made ahead. ``close`` are
    descriptors of the monitor that the starter must not keep open.
    """

    def __init__(self, runtime: Any, load: Callable[[str], Any], ahead: Any, close: Sequence[int] = ()) -> None:
        self._link, theirs = messages.pair()
        monitor = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            process.prctl(process.PR_SET_PDEATHSIG, _signal.SIGKILL)
            for fd in (self._link.detach(), *close):
                os.close(fd)
            _serve(theirs, runtime, load, ahead, monitor)
        theirs.close()

    keeper: tuple[int, int] | None = None
    """See ``sampan.drivers.runtime``."""

    def ask(self, message: dict[str, Any], fds: Sequence[int], stdio: list[int]) -> None:
        """Have it start a process. ``fds``: the control, the order, the root if any.

        The starter and the process keep the control open until there is a program running, or neither of them. So if
        this monitor is killed, the daemon, at the other end, does not clean up before they are gone as well.

        ``BrokenPipeError`` if the starter died before it was asked.
        """
        wanted = message["kind"], message["module"], message.get("path", ()), message["root"]
        messages.send(self._link, wanted, [*fds, *stdio])

    def answer(self) -> tuple[int, int]:
        """The process's pid, and the master of its terminal or -1. ``StartFailed`` if it could not be started."""
        try:
            answer, given = messages.receive(self._link)
        except OSError:
            answer = None
        if answer is None:
            raise StartFailed("the process that was to start the container died", 128)
        if answer[0] == "failed":
            raise StartFailed(answer[1], answer[2])
        self._spare, keeper, has_terminal = answer[2:]
        terminal = given.pop(0) if has_terminal else -1
        if keeper:
            self.keeper = keeper, given[0] if given else -1
        return answer[1], terminal

    def reap(self) -> None:
        """After the daemon has its answer, for processes take their time to go. Idempotent."""
        if not self._pid:
            return
        self._link.close()
        for pid in filter(None, (self._pid, self._spare)):
            os.waitpid(pid, 0)
        self._pid = 0

    def give_up(self) -> None:
        """It is not needed: what it has made ahead is gone when this returns."""
        self._link.close()
        os.waitpid(self._pid, 0)


def _serve(link: Any, runtime: Any, load: Callable[[str], Any], ahead: Any, monitor: int) -> None:
    try:
        made = _make_ahead(runtime, ahead)
        message, fds = messages.receive(link)
        if message is None or os.getppid() != monitor:  # nothing will be asked any more, or nobody would watch
            if made:
                made.close()
            os._exit(0)
        _answer(link, runtime, load, made, message, fds)
        link.recv(1)  # until the monitor has had its turn: our end takes the processor's time that it could have,
        os.nice(LESS)  # or whoever was told by it
        if message[0] == "start":
            _tell_marks(fds[0])
    finally:
        os._exit(0)


def _make_ahead(runtime: Any, ahead: Any) -> Any:
    with suppress(OSError):  # what is wrong shows again, and is told, when a process is started
        if ahead is not None and hasattr(runtime, "ready"):
            return runtime.ready(*ahead)
        if hasattr(runtime, "warm"):
            runtime.warm()
    return None


def _answer(
    link: Any, runtime: Any, load: Callable[[str], Any], made: Any, message: tuple[Any, ...], fds: list[int]
) -> None:
    kind, module, path, has_root = message
    process.marks.clear()
    process.mark("")
    _, kept, *rest = fds  # the first is the daemon's: it is closed with all others when we go
    root = rest.pop(0) if has_root else -1
    stdio = (rest[0], rest[1], rest[2]) if rest else (-1, -1, -1)
    unused = None
    try:
        sys.path[:0] = [entry for entry in path if entry not in sys.path]  # it may be anybody's
        wanted = load(module)
        order = messages.kept(kept)
        if kind == "exec":
            pid, terminal, *keeper = wanted.exec(order, stdio)
        elif made and wanted is runtime:
            pid, terminal, *keeper = wanted.start(order, root, stdio, made, kept)
        else:
            unused = made  # another runtime made it
            pid, terminal, *keeper = wanted.start(order, root, stdio)
        spare = made.pid if made and made.pid != pid else 0
        watched, listener = keeper[0] if keeper else (0, -1)
        fds = [fd for fd in (terminal, listener) if fd >= 0]
        messages.send(link, ("started", pid, spare, watched, terminal >= 0), fds)
    except StartFailed as failure:
        messages.send(link, ("failed", failure.message, failure.exit_code))
    except BaseException as error:
        complain(module, error)
        messages.send(link, ("failed", f"the runtime failed: {type(error).__name__}: {error}", 128))
    finally:
        if unused:
            unused.close()


def _tell_marks(control: int) -> None:
    """What was done when, for the daemon itself: it would cost the monitor memory to pass it on, and the start time."""
    marks = messages.dumps([("starter", os.getpid(), process.marks), ("init", 0, process.reported)])
    with suppress(OSError):  # the daemon has gone
        os.write(control, messages.dumps(("marks", marks)))


def complain(who: str, error: BaseException) -> None:
    """Say on the daemon's standard error what went wrong."""
    try:
        import traceback
    except ImportError:  # in a container, from where nothing is imported
        os.write(2, f"{who}: {error!r}\n".encode())
        return
    os.write(2, f"{who}: {''.join(traceback.format_exception(error))}".encode())
