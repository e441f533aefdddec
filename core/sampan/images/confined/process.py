"""The confined process: executed once, then it forks a child for every job, so that each is alone with its archive.

It ends with the daemon, or when there was nothing to do for a while; its children end with it, for it is the first
process of their PID namespace.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
from typing import Any

from sampan.linux import messages, process

IDLE = 10.0  # seconds without a job


def main(control: int, path: list[str]) -> None:
    """Serve the daemon at the other end of ``control``."""
    process.close_all_but(control)
    os.set_inheritable(control, False)
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()
    os.umask(0)
    if os.sched_getscheduler(0):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    process.prctl(process.PR_SET_NAME, b"sampan-unpack")
    from sampan.images.confined import confinement, jobs

    jobs.prepare()
    if os.geteuid() == 0:
        confinement.go_apart()
        confinement.give_up()
    gc.collect()
    gc.freeze()
    _Mother(control).serve()


class _Mother:
    """The jobs that are going on: by the child's pidfd its pid and our copy of the socket it answers to, which tells
    when the daemon has lost interest and on which we say of what the child died."""

    def __init__(self, control: int) -> None:
        self._control = messages.connect(control)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._children: dict[int, tuple[int, Any]] = {}
        self._answers: dict[int, int] = {}

    def serve(self) -> None:
        while True:
            heard = self._poll.poll(None if self._children else IDLE * 1000)
            if not heard:
                return
            for fd, _ in heard:
                if fd == self._control.fileno():
                    order, fds = messages.receive(self._control)
                    if order is None:
                        return
                    self._begin(order, fds)
                elif fd in self._children:
                    self._ended(fd)
                elif fd in self._answers:
                    self._cancel(fd)

    def _begin(self, order: dict[str, Any], fds: list[int]) -> None:
        answer = messages.connect(fds.pop())
        child = os.fork()
        if child == 0:
            self._work(order, fds, answer)
        for fd in fds:
            os.close(fd)
        pidfd = os.pidfd_open(child)
        self._children[pidfd] = (child, answer)
        self._answers[answer.fileno()] = child
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(answer.fileno(), 0)  # hang-ups are told without asking (poll(2))
        with contextlib.suppress(OSError):
            answer.send(b"b")

    def _work(self, order: dict[str, Any], fds: list[int], answer: Any) -> None:
        status = 1
        try:
            from sampan.images.confined import confinement, jobs

            for pidfd, (_, other) in self._children.items():
                os.close(pidfd)
                other.close()
            self._control.close()
            gc.disable()  # nothing here makes circles, and it is over soon
            os.dup2(0, 2)  # the daemon's log is not for them
            confinement.give_up_more(order["largest"])
            jobs.work(order, fds, answer)
            status = 0
        finally:
            os._exit(status)

    def _ended(self, pidfd: int) -> None:
        child, answer = self._children.pop(pidfd)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            with contextlib.suppress(OSError):
                answer.send(b"k%d" % os.WTERMSIG(status))
        self._poll.unregister(pidfd)
        with contextlib.suppress(KeyError):
            self._poll.unregister(answer.fileno())
        self._answers.pop(answer.fileno(), None)
        os.close(pidfd)
        answer.close()

    def _cancel(self, fd: int) -> None:
        self._poll.unregister(fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._answers.pop(fd), signal.SIGKILL)
