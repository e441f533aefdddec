"""Who is at the other end of a connection, as far as the kernel can say."""

from __future__ import annotations

import pwd
import socket
import struct
from asyncio import BaseTransport

_UCRED = struct.Struct("iii")  # pid, uid, gid: unix(7), SO_PEERCRED


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
