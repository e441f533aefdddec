"""Who is at the other end of a connection, as far as the kernel can say."""

from __future__ import annotations

import ipaddress
import pwd
import socket
import struct
from asyncio import BaseTransport
from urllib.parse import urlsplit

_UCRED = struct.Struct("iii")  # pid, uid, gid: unix(7), SO_PEERCRED


def is_page(origin: str, host: str) -> bool:
    """May that be a page in somebody's browser, which sends the header ``Origin`` (RFC 6454)? Websockets' clients send
    it, too: with the ``host`` that they call us by, or without any, as no browser does. A page's name can be made to
    mean us, but an address is its own."""
    if not origin or not host:
        return False
    if origin.partition("://")[2] != host:
        return True
    try:
        hostname = urlsplit(f"//{host}").hostname or ""
        return hostname != "localhost" and not ipaddress.ip_address(hostname)
    except ValueError:
        return True


def name(transport: BaseTransport) -> str:
    """``user root`` for whoever opened a Unix socket, ``10.0.0.7`` over TCP; nothing if nobody knows."""
    connection = transport.get_extra_info("socket")
    try:
        if connection.family != socket.AF_UNIX:
            return str(connection.getpeername()[0])
        _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    except (AttributeError, OSError):
        return ""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
