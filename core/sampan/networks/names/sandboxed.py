"""The name server's sockets in a container's network namespace, and the way to them.

Docker's programs ask 127.0.0.11, port 53. A container may serve names itself, on that port of all its addresses, so
nothing of ours is bound to it: the sockets have some other port, and one chain changes the port of what goes to
127.0.0.11 and of what comes back. It changes packets one by one, without connection tracking, which the namespace is
thus spared altogether.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import NamedTuple

from sampan.errors import Conflict, Exhausted
from sampan.linux import netns
from sampan.linux.nftables import open_nftables
from sampan.networks.names.resolvconf import SERVER

_PORT = 53
_TRIES = 16
_WAITING = 128  # connections
_BUFFER = 1 << 20  # bytes of questions that may wait: a thousand, where the kernel's default is for 250
_SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it
_TABLE = "sampan_names"


class Sockets(NamedTuple):
    """``namespace`` is a descriptor of the network namespace that the sockets are in."""

    udp: socket.socket
    tcp: socket.socket
    namespace: int

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()
        os.close(self.namespace)


def open_in(sandbox: Path) -> Sockets:
    """Bind the sockets in ``sandbox`` and lead port 53 to them, whatever led it elsewhere before."""

    def work() -> Sockets:
        with contextlib.ExitStack() as undo:
            udp, tcp = _bind()
            undo.callback(udp.close)
            undo.callback(tcp.close)
            _lead(udp.getsockname()[1])
            namespace = netns.current()
            undo.pop_all()
        return Sockets(udp, tcp, namespace)

    return netns.inside(sandbox, work)


def _bind() -> tuple[socket.socket, socket.socket]:
    """One port for both."""
    for _ in range(_TRIES):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            udp.bind((SERVER, 0))
            tcp.bind(udp.getsockname())
            tcp.listen(_WAITING)
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp
    raise Exhausted(f"no port of {SERVER} was free for the container's name server")


def _lead(port: int) -> None:
    """In one transaction: where there was a way, there is no moment without one.

    Taking the former one away costs a wait for all processors, so it is only done where there is one.
    """
    rules = [
        'oif != "lo" accept',  # nearly all packets are done with here
        f"ip daddr {SERVER} udp dport {_PORT} udp dport set {port}",
        f"ip daddr {SERVER} tcp dport {_PORT} tcp dport set {port}",
        f"ip saddr {SERVER} udp sport {port} udp sport set {_PORT}",
        f"ip saddr {SERVER} tcp sport {port} tcp sport set {_PORT}",
    ]
    table = (
        f"create table ip {_TABLE}\n"
        f"add chain ip {_TABLE} out {{ type filter hook output priority raw; policy accept; }}\n"
        + "".join(f"add rule ip {_TABLE} out {rule}\n" for rule in rules)
    )
    nftables = open_nftables()
    try:
        try:
            nftables.run(table)
        except Conflict:
            nftables.run(f"delete table ip {_TABLE}\n{table}")
    finally:
        nftables.close()
