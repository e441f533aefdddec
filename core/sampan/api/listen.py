"""Listening sockets, from the notation of ``--host``.

``unix:///path`` is made with mode 0660 for root and one group. ``tcp://`` without TLS gives root to whoever reaches
it, so it is taken only on the loopback interface. ``fd://`` takes the sockets that systemd passed (sd_listen_fds(3)).
"""

from __future__ import annotations

import errno
import grp
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sampan.errors import Conflict, Forbidden, Invalid, Unavailable

BACKLOG = 4096  # as Go has it: a client of a Unix socket that is full is turned away at once
SYSTEMD_FIRST = 3  # the first descriptor that systemd passes
UNIX_PATH_MAX = 107  # bytes of a socket's path, unix(7)


class Listener(NamedTuple):
    """``path`` is the socket file of a Unix socket that we made."""

    socket: socket.socket
    host: str
    path: Path | None = None

    def close(self) -> None:
        self.socket.close()


def listen(hosts: Sequence[str], group: str = "") -> list[Listener]:
    """One listener per host (``fd://`` may be several), or none at all and one sentence."""
    listeners: list[Listener] = []
    try:
        for host in hosts:
            listeners += _listen(host, group)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen(host: str, group: str) -> list[Listener]:
    scheme, found, rest = host.partition("://")
    if found and scheme == "unix":
        return [_unix(host, Path(rest), group)]
    if found and scheme == "tcp":
        return [_tcp(host, rest)]
    if found and scheme == "fd":
        return _systemd(host)
    raise Invalid(f"host {host!r} is not understood: unix:///path, tcp://127.0.0.1:port or fd:// would be")


def _unix(host: str, path: Path, group: str) -> Listener:
    if not path.is_absolute() or len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise Invalid(f"host {host!r} needs an absolute path of at most {UNIX_PATH_MAX} bytes")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}: {error.strerror}") from None
    mask = os.umask(0o177)
    try:
        listening.bind(str(path))
        os.chown(path, 0 if os.geteuid() == 0 else -1, _group_id(group))
        path.chmod(0o660)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Unavailable(f"cannot listen on {host}: {error.strerror}") from None
    finally:
        os.umask(mask)
    return Listener(listening, host, path)


def _group_id(group: str) -> int:
    if not group:
        return -1
    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Invalid(f"socket_group: this machine has no group {group!r}") from None


def _remove_stale(path: Path) -> None:
    """A daemon that was killed leaves its socket behind, and nobody answers on it."""
    if not path.is_socket():
        if path.exists():
            raise Conflict(f"{path} exists and is not a socket: remove it or listen elsewhere")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        found = probe.connect_ex(str(path))
    if found in (0, errno.EAGAIN):
        raise Conflict(f"another daemon already listens on unix://{path}")
    path.unlink(missing_ok=True)


def _tcp(host: str, address: str) -> Listener:
    name, found, port = address.rpartition(":")
    name = name.strip("[]")
    if not found or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"host {host!r} is not understood: tcp://127.0.0.1:2375 would be")
    try:
        ip = ipaddress.ip_address("127.0.0.1" if name == "localhost" else name)
    except ValueError:
        raise Invalid(f"host {host!r} needs an IP address, such as tcp://127.0.0.1:2375") from None
    if not ip.is_loopback:
        raise Forbidden(f"host {host!r} would give root to the whole network: without TLS only loopback is served")
    listening = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((str(ip), int(port)))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Unavailable(f"cannot listen on {host}: {error.strerror}") from None
    return Listener(listening, host)


def _systemd(host: str) -> list[Listener]:
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit() or count == "0":
        raise Invalid(f"host {host!r}: systemd passed no sockets to this process")
    return [Listener(socket.socket(fileno=SYSTEMD_FIRST + n), host) for n in range(int(count))]
