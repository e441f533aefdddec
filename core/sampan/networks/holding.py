"""Holding ports of the host: a socket that listens to nobody keeps other processes from a published port.

Packets for a published port never get to a socket of the host, for the firewall turns them round before. A process that
bound the port all the same would wait for clients in vain; so it is told, as with any port that is taken (Docker's
proxy has this effect, too). The sockets are gone with the daemon, however it ends, and the next one makes them again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket

from sampan.errors import Conflict, Invalid
from sampan.linux import listeners, sysctl

_SOCKETS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}

_BACKLOG = 1024  # clients who wait to be let in
_BUFFER = 1 << 18  # bytes of datagrams that do


class Hold:
    """One port of one address, for as long as this is not closed. ``fd`` is -1 where there is nothing to hold."""

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd

    def land(self) -> None:
        """Let clients in from now on."""
        with socket.socket(fileno=os.dup(self.fd)) as one:
            _open_to_all(one)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def room() -> int:
    """How many holds a process may have: half of the files that it may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2


def has_ipv6() -> bool:
    """Can one listen on IPv6 here? Not where the kernel is without, or has it switched off."""
    try:
        return sysctl.read("net/ipv6/conf/lo/disable_ipv6") == "0"
    except OSError:
        return False


def hold(protocol: str, address: str, port: int, *, landing: bool = False) -> Hold:
    """``landing``: clients are to be let in, by whoever the descriptor is given to.

    ``Conflict`` in Docker's words if a process of the host uses the port; ``Invalid`` if it has no such address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind, number = _SOCKETS[protocol]
    try:
        one = socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
    except OSError:
        return Hold()  # the host has no such protocol: nobody can be listening
    with one:
        if protocol == "tcp":  # then only listeners are in the way, not closed connections that still linger
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            one.bind((address, port))
            if landing:
                _open_to_all(one)
            else:
                _close_to_all(one, protocol)
        except OSError as error:
            what = f"failed to bind host port {f'[{address}]' if ':' in address else address}:{port}/{protocol}"
            if error.errno == errno.EADDRNOTAVAIL:
                raise Invalid(f"{what}: cannot assign requested address: this host has no such address") from None
            if error.errno != errno.EADDRINUSE:
                raise Invalid(f"{what}: {error.strerror or error}") from None
            raise Conflict(f"{what}: address already in use") from None
        return Hold(one.detach())


def listener(protocol: str, port: int) -> str:
    """``": nginx (process 7) listens there"``, or ``""`` if it is none of others' that is known. Takes milliseconds."""
    for one in listeners.listeners(protocol):
        if one.port != port or listeners.owner(one.inode, [os.getpid()]):
            continue
        if known := listeners.owner(one.inode):
            return f": {known[1]} (process {known[0]}) listens there"
    return ""


def _open_to_all(one: socket.socket) -> None:
    one.setblocking(False)
    if one.type == socket.SOCK_DGRAM:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        return
    # The connections have it from here: those that linger after the container keep nobody from the port.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.listen(_BACKLOG)


def _close_to_all(one: socket.socket, protocol: str) -> None:
    """Others cannot bind what once listened, not even those who would share it (Linux inet_csk_bind_conflict).

    Clients who come while the firewall is away are refused, as they are where nobody listens.
    """
    if protocol == "udp":
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        return
    if protocol == "sctp":  # what is bound there is nobody else's, and it does not listen without a backlog (EINVAL)
        return
    one.listen(0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    one.shutdown(socket.SHUT_RD)
