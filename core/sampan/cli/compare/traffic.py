"""How fast bytes go: written to the container's disk, and received by it from this host.

Only where the image has the programs for it (dd; wget, nc or busybox) and the container a way; else there is no figure.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

_PIECE = bytes(1 << 18)
_PATIENCE = 5.0  # seconds for the container to come for its bytes
_NO_PROGRAM = (126, 127)
_MOSTLY = 4

Execute = Callable[[str, list[str]], tuple[int, float]]


def write(execute: Execute, ident: str, size: int, exec_took: float) -> float | None:
    """MB/s, synced at the end, without what an exec takes by itself (``exec_took``, milliseconds)."""
    command = ["dd", "if=/dev/zero", "of=/sampan-compare", "bs=1048576", f"count={size >> 20}", "conv=fsync"]
    code, took = execute(ident, command)
    return None if code else _speed(size, took, exec_took)


def receive(execute: Execute, ident: str, size: int, exec_took: float, host: str) -> float | None:
    """MB/s from a server of our own at ``host`` as the container sees it."""
    if not host:
        return None
    with socket.create_server(("", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, size), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        for command in (
            ["wget", "-q", "-T", "5", "-O", "/dev/null", f"http://{host}:{port}/"],
            ["sh", "-c", f"nc {host} {port} > /dev/null"],
            ["sh", "-c", f"busybox nc {host} {port} > /dev/null"],
        ):
            code, took = execute(ident, command)
            if code not in _NO_PROGRAM:
                break
        server.shutdown(socket.SHUT_RDWR)  # nobody came for the bytes
        thread.join(_PATIENCE)
    return None if code else _speed(size, took, exec_took)


def _serve(server: socket.socket, size: int) -> None:
    """As HTTP, without waiting for the request: nc has none."""
    try:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(_PATIENCE)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // len(_PIECE)):
                connection.sendall(_PIECE)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # a connection that is closed with something unread is reset (RFC 9293 3.6.1)
                pass
    except OSError:
        return


def _speed(size: int, took: float, exec_took: float) -> float:
    """An exec by itself may have taken longer than this one, on a busy machine: it is not all of it."""
    return size / 1000 / max(took - exec_took, took / _MOSTLY)
