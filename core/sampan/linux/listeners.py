"""Who waits for connections or datagrams in a network namespace: proc_pid_net(5), tcp(7), udp(7), sctp(7).

What the kernel shows under ``/proc/PID/net`` is that of the process's network namespace, whoever reads it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_TCP_LISTEN, _UNCONNECTED = "0A", "07"
_FILES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class Listener(NamedTuple):
    """``address`` may be ``0.0.0.0`` or ``::``, which means all (and those of IPv4, too, unless the program has asked
    for IPv6 alone: nobody can tell from here). ``inode`` is the socket's, 0 if unknown."""

    address: str
    port: int
    inode: int

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def everywhere(self) -> bool:
        return self.address in ("0.0.0.0", "::")


def listeners(protocol: str, process: int | str = "thread-self") -> list[Listener]:
    """Of ``tcp``, ``udp`` or ``sctp``, in the namespace of a process. ``OSError`` if the process is gone."""
    place = Path(f"/proc/{process}/net")
    if protocol == "sctp":
        return list(_sctp(place / "sctp/eps"))
    wanted = _TCP_LISTEN if protocol == "tcp" else _UNCONNECTED
    found: list[Listener] = []
    for name in _FILES[protocol]:
        try:
            lines = (place / name).read_text().splitlines()[1:]
        except FileNotFoundError:
            if not place.exists():
                raise
            continue  # a kernel without IPv6
        fields = (line.split() for line in lines)
        found += [Listener(*_place(one[1]), int(one[9])) for one in fields if len(one) > 9 and one[3] == wanted]
    return found


def owner(inode: int, among: Iterable[int] | None = None) -> tuple[int, str] | None:
    """Pid and name of a process that has the socket open, of all or ``among`` some; None if nobody is found."""
    everybody = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    for pid in among if among is not None else everybody:
        if inode and inode in set(_sockets(pid)):
            return pid, _name(pid)
    return None


def _sockets(pid: int) -> Iterator[int]:
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            if match := _SOCKET.fullmatch(str(entry.readlink())):
                yield int(match[1])


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def _place(text: str) -> tuple[str, int]:
    """``0100007F:1F90``: words of four bytes in the machine's own order."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    words = struct.unpack(f">{len(raw) // 4}I", raw)
    return str(ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))), int(port, 16)


def _sctp(path: Path) -> Iterator[Listener]:
    """Endpoints that listen are in state 10 (SCTP_SS_LISTENING of Linux include/net/sctp/constants.h)."""
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return  # the module is not loaded: nobody can be listening
    for line in lines:
        fields = line.split()
        if len(fields) >= 9 and fields[3] == "10":
            for address in fields[8:]:
                yield Listener(address, int(fields[5]), int(fields[7]))
