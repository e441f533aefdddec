"""The starter: a short-lived child of the monitor in which the runtime's half makes the container's process.

An idle container costs the pages that its monitor has written to since it was forked. Reading an order and starting a
container touches half a megabyte, which this way goes when the starter goes. It is forked before there is an order,
so that none of that takes time when one comes; and it lets the runtime make ahead what it can.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from sampan.errors import StartFailed
from sampan.linux import messages, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Starter:
    """The monitor's side. ``close`` are descriptors of the monitor that the starter must not keep open."""

    def __init__(self, runtime: Any, load: Callable[[str], Any], *, ahead: bool, close: Sequence[int] = ()) -> None:
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

    def start(self, message: dict[str, Any], control: int, root: int, stdio: list[int]) -> tuple[int, int]:
        """The process's pid, and the master of its terminal or -1.

        The starter and the process keep ``control`` open until there is a program running, or neither of them. So if
        this monitor is killed, the daemon, at the other end, does not clean up before they are gone as well.

        ``StartFailed`` if it could not be started; ``BrokenPipeError`` if the starter died before it was asked.
        """
        fds = [control] + ([] if root < 0 else [root]) + stdio
        asked = (message["kind"], message["module"], message["order"], root >= 0)
        messages.send(self._link, asked, fds)
        try:
            answer, fds = messages.receive(self._link)
        except OSError:
            answer = None
        self._link.close()
        if answer is None:
            raise StartFailed("the process that was to start the container died", 128)
        if answer[0] == "failed":
            raise StartFailed(answer[1], answer[2])
        self._spare, self.marks, keeper, has_terminal = answer[2:]
        terminal = fds.pop(0) if has_terminal else -1
        if keeper:
            self.keeper = keeper, fds[0] if fds else -1
        return answer[1], terminal

    def reap(self) -> None:
        """After the daemon has its answer, for processes take their time to go."""
        self.marks = b""
        os.waitpid(self._pid, 0)
        if self._spare:
            os.waitpid(self._spare, 0)


def _serve(link: Any, runtime: Any, load: Callable[[str], Any], ahead: bool, monitor: int) -> None:
    try:
        made = _make_ahead(runtime) if ahead else None
        message, fds = messages.receive(link, messages.LIMIT)
        if message is None or os.getppid() != monitor:  # nothing will be asked any more, or nobody would watch
            os._exit(0)
        _answer(link, runtime, load, made, message, fds)
    finally:
        os._exit(0)


def _make_ahead(runtime: Any) -> Any:
    if not hasattr(runtime, "ready"):
        return None
    try:
        return runtime.ready()
    except OSError:
        return None  # what is wrong shows again, and is told, when a container is started


def _answer(
    link: Any, runtime: Any, load: Callable[[str], Any], made: Any, message: tuple[Any, ...], fds: list[int]
) -> None:
    kind, module, packed, has_root = message
    process.marks.clear()
    process.mark("")
    fds.pop(0)  # the daemon's: it is closed with all others when we go
    root = fds.pop(0) if has_root else -1
    stdio = (fds[0], fds[1], fds[2]) if fds else (-1, -1, -1)
    try:
        wanted = load(module)
        if made and (wanted is not runtime or kind == "exec"):
            made[1].close()
        order = messages.loads(packed)
        if kind == "exec":
            pid, terminal, *keeper = wanted.exec(order, stdio)
        elif made and wanted is runtime:
            pid, terminal, *keeper = wanted.start(order, root, stdio, made)
        else:
            pid, terminal, *keeper = wanted.start(order, root, stdio)
        spare = made[0] if made and made[0] != pid else 0
        marks = messages.dumps([("starter", os.getpid(), process.marks), ("init", pid, process.reported)])
        kept, listener = keeper[0] if keeper else (0, -1)
        fds = [fd for fd in (terminal, listener) if fd >= 0]
        messages.send(link, ("started", pid, spare, marks, kept, terminal >= 0), fds)
    except StartFailed as failure:
        messages.send(link, ("failed", failure.message, failure.exit_code))
    except BaseException as error:
        complain(module, error)
        messages.send(link, ("failed", f"the runtime failed: {type(error).__name__}: {error}", 128))


def complain(who: str, error: BaseException) -> None:
    """Say on the daemon's standard error what went wrong."""
    import traceback

    os.write(2, f"{who}: {''.join(traceback.format_exception(error))}".encode())
