"""What ``lxc-start`` says by itself: a container's states, and how its init has ended.

It writes them to a pipe that ``lxc-monitord`` would make, ``/run/lxc/LXCPATH/monitor-fifo`` (lxc-monitor(1); LXC's
``struct lxc_msg``). No other way leads to an exit status that is exact: its own exit status says nothing of it.

Each ``lxc-start`` of ours has such a pipe to itself, in a file system that only its mount namespace has. The pipe is
small and filled, so that beside two messages, that it starts and that it runs, there is no room in it: when the init
has ended, ``lxc-start`` cannot go on to remove its groups before we have looked at them and read the third.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import termios

from sampan.linux import mounts
from sampan.linux.suppress import suppress

RUN = "/run/lxc"
"""In ``lxc-start``'s mount namespace a file system of its own."""

_MESSAGE = struct.Struct("=i256si")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATE, _EXIT = 0, 2  # lxc_msg_type_t
_FAILED = (3, 4, 0)  # STOPPING, ABORTING, STOPPED of lxc_state_t
_FILLING = _PAGE - 2 * _MESSAGE.size


def own() -> None:
    """Make what LXC keeps under ``/run`` the caller's own."""
    os.makedirs(RUN, exist_ok=True)  # noqa: PTH103
    mounts.mount("sampan", RUN, "tmpfs", mounts.MS_NOSUID, "size=64k,mode=755")


def listen(lxcpath: str) -> int:
    """A descriptor of the pipe, for a ``lxc-start`` in the mount namespace of the caller, which is its own."""
    path = f"{RUN}/{lxcpath}/monitor-fifo"
    os.makedirs(os.path.dirname(path))  # noqa: PTH103, PTH120
    os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PAGE)
    os.write(fd, bytes(_FILLING))
    return fd


def failed(fd: int) -> bool:
    """Nothing has been heard of the program for a while: is it because LXC has given up? If so, it can go on."""
    said = int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    if said < _PAGE:
        return False
    return any(kind == _STATE and value in _FAILED for kind, value in drain(fd))


def drain(fd: int) -> list[tuple[int, int]]:
    """All that it has said: kinds of message and their values."""
    data = b""
    with suppress(BlockingIOError):
        while True:
            data += os.read(fd, _PAGE)
    return list(_messages(data))


def exit_status(fd: int, keeper: int) -> int | None:
    """The init's, as waitpid(2) has it; None if ``keeper``, the ``lxc-start`` at the other end, could not tell."""
    ended = os.pidfd_open(keeper)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(ended, select.POLLIN)
    try:
        over = False
        while not over:
            over = ended in dict(poll.poll())
            for kind, value in drain(fd):
                if kind == _EXIT:
                    return value
    finally:
        os.close(ended)
    return None


def _messages(data: bytes) -> list[tuple[int, int]]:
    found = []
    data = data[len(data) % _MESSAGE.size :]  # the filling is no whole number of them
    for kind, name, value in _MESSAGE.iter_unpack(data):
        if name[0]:
            found.append((kind, value))
    return found
