"""Landings: ports of the host on which clients come by IPv6 to a container that has only IPv4.

The firewall cannot turn a packet of one version of IP into one of the other, so somebody has to take the connection and
continue it, as Docker's proxy does. Here the daemon opens the sockets, which says at once if a port is taken, and the
monitor watches them, so that they are there as long as the container. Only when somebody comes is a process forked that
carries (:mod:`sampan.monitor.ferry`); it goes when there has been nobody for a while, and with its monitor.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import select

from sampan.linux import process
from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sampan.monitor.relay import Loop

_MANY = 128  # who are turned away at once, where nobody can carry them


class Landings:
    """Those of one container. ``controls`` are the daemon's ends of its connections to this monitor: a ferry keeps them
    open, so that a daemon that sees its monitor die knows that the ports are free again, too."""

    def __init__(self, loop: Loop, controls: Callable[[], list[int]]) -> None:
        self._loop = loop
        self._controls = controls
        self.routes: Sequence[Any] = ()
        self.fds: list[int] = []
        self._ferries: dict[int, int] = {}  # pids by pidfd
        self._carrier = -1  # the pidfd of the one that listens

    def change(self, routes: Sequence[Any], fds: list[int]) -> None:
        """From now on these: the descriptors of listening sockets, and for each what :func:`ferry.serve` is to know.

        Ferries that are under way arrive; they take nobody in any more."""
        self._unwatch()
        for pid in self._ferries.values():
            os.kill(pid, _signal.SIGTERM)
        for fd in self.fds:
            os.close(fd)
        self.routes, self.fds, self._carrier = routes, fds, -1
        self._watch()

    def close(self) -> None:
        """The container has ended: nobody is carried any more, and the ports are free."""
        self._unwatch()
        for pid in self._ferries.values():
            os.kill(pid, _signal.SIGKILL)
        for pidfd in list(self._ferries):
            self._reap(pidfd)
        for fd in self.fds:
            os.close(fd)
        self.routes, self.fds, self._carrier = (), [], -1

    def _watch(self) -> None:
        for fd in self.fds:
            self._loop.watch(fd, select.EPOLLIN, self._come)

    def _unwatch(self) -> None:
        for fd in self.fds:
            self._loop.forget(fd)

    def _come(self, _events: int) -> None:
        """Somebody has: from here on it is the ferry that looks."""
        monitor = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            self._turn_away()
            return
        if pid == 0:
            self._carry(monitor)
        self._unwatch()
        self._carrier = pidfd = os.pidfd_open(pid)
        self._ferries[pidfd] = pid
        self._loop.watch(pidfd, select.EPOLLIN, lambda _events: self._arrived(pidfd))

    def _carry(self, monitor: int) -> None:
        try:
            process.prctl(process.PR_SET_PDEATHSIG, _signal.SIGKILL)
            process.prctl(process.PR_SET_NAME, b"sampan-ferry")
            if os.getppid() != monitor:
                os._exit(0)
            process.close_all_but(*self.fds, *self._controls())
            from sampan.monitor import ferry

            ferry.serve(self.routes, self.fds)
        except BaseException:
            os._exit(1)
        os._exit(0)

    def _arrived(self, pidfd: int) -> None:
        failed = self._reap(pidfd)
        if pidfd == self._carrier:
            self._carrier = -1
            if failed:
                self._turn_away()
            self._watch()

    def _reap(self, pidfd: int) -> bool:
        self._loop.forget(pidfd)
        os.close(pidfd)
        return os.waitpid(self._ferries.pop(pidfd), 0)[1] != 0

    def _turn_away(self) -> None:
        """Nobody can carry those who wait now, and they must not keep us busy."""
        for fd in self.fds:
            landing: Any = _socket.socket(fileno=os.dup(fd))
            with suppress(OSError):
                for _ in range(_MANY):
                    if landing.type == _socket.SOCK_DGRAM:
                        landing.recv(1)
                    else:
                        os.close(landing._accept()[0])
            landing.close()
