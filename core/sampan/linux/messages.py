"""Messages between our own processes: one marshalled value, and some descriptors beside it.

The sockets are SOCK_SEQPACKET, so that messages keep their bounds (unix(7)). Only daemon, launcher, monitors and
inits on their way are connected like this: :mod:`marshal` trusts what it reads.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from socket import socket
    from typing import Any

FORMAT = 4  # marshal's format since Python 3.4: a newer daemon can talk to the monitors of an older one
_INT = 4
_MANY = 200  # descriptors sent at once
_ANCILLARY = 2048  # bytes: 253 descriptors, the most that one message takes (unix(7)), and their header


def send(sock: socket, message: Any, fds: Sequence[int] = ()) -> None:
    """Send a message and copies of ``fds``. ``OSError`` if the other side is gone (EPIPE) or full (EAGAIN)."""
    rights = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in fds)
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if fds else []
    sock.sendmsg([dumps(message)], ancillary)


def receive(sock: socket, limit: int = 1 << 16) -> tuple[Any, list[int]]:
    """The next message and its descriptors; ``(None, [])`` when the other side has closed."""
    data, ancillary, _, _ = sock.recvmsg(limit, _ANCILLARY)
    fds = []
    for _, _, rights in ancillary:
        fds += [int.from_bytes(rights[at : at + _INT], sys.byteorder) for at in range(0, len(rights), _INT)]
    if not data:
        return None, []
    return loads(data), fds


def box(things: Iterable[tuple[Any, int]]) -> Any:
    """Values, each with a descriptor, and more of them than a message takes: what :func:`unboxed` reads is in the end
    that is returned, which is to be sent on and closed."""
    ours, theirs = pair()
    fill(ours, things)
    ours.close()
    return theirs


def fill(end: Any, things: Iterable[tuple[Any, int]]) -> None:
    """Write them to the other end of a box. ``BlockingIOError`` if its buffer is too small, which takes thousands."""
    end.setblocking(False)
    left = list(things)
    while left:
        some, left = left[:_MANY], left[_MANY:]
        send(end, [value for value, _ in some], [fd for _, fd in some])
    end.shutdown(_socket.SHUT_WR)


def unboxed(end: Any) -> tuple[list[Any], list[int]]:
    """The values and the descriptors."""
    values: list[Any] = []
    fds: list[int] = []
    while True:
        some, given = receive(end)
        if some is None:
            return values, fds
        values += some
        fds += given


def dumps(value: Any) -> bytes:
    """A value as bytes, to be passed on unread."""
    return marshal.dumps(value, FORMAT)


def loads(data: bytes) -> Any:
    """The value of :func:`dumps`."""
    return marshal.loads(data)  # noqa: S302 - from our own processes only


def keep(value: Any) -> int:
    """A value in an anonymous file (memfd_create(2)), for those who read it later or not at all: its descriptor."""
    data = dumps(value)
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    while data:
        data = data[os.write(fd, data) :]
    return fd


def kept(fd: int) -> Any:
    """The value of :func:`keep`."""
    return loads(os.pread(fd, os.fstat(fd).st_size, 0))


def pair() -> tuple[Any, Any]:
    """Two connected ends, close-on-exec: sockets without the comforts of :mod:`socket`, which is dear to import."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def connect(fd: int) -> Any:
    """A descriptor as an end."""
    return _socket.socket(fileno=fd)
