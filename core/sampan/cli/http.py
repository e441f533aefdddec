"""HTTP/1.1 as a client of one daemon needs it: requests, streams, uploads, and connections taken over (hijacked).

RFC 9112 for the framing; the Docker Engine API, "Stream details", for the upgrade. The C module ``_socket`` is used
where it is there: ``import socket`` costs as much as starting Python (it builds enums of every constant).
"""

from __future__ import annotations

from sampan.cli.failures import CannotConnect, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator
    from typing import BinaryIO

try:
    import _socket as sockets
except ImportError:  # pragma: no cover - CPython has it
    import socket as sockets  # type: ignore[no-redef]

CHUNK = 1 << 18
MAX_HEAD = 1 << 16


def connect(address: str | tuple[str, int]) -> socket:
    """A connected stream socket: ``address`` is a Unix socket's path or a host and port. Raises OSError."""
    if isinstance(address, str):
        sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        _connect(sock, address)
        return sock
    error: OSError = OSError(f"{address[0]} has no address")
    for family, kind, number, _, target in sockets.getaddrinfo(*address, 0, sockets.SOCK_STREAM):
        sock = sockets.socket(family, kind, number)
        sock.settimeout(30)
        try:
            _connect(sock, target)
        except OSError as why:
            error = why
            continue
        sock.settimeout(None)
        sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        return sock
    raise error


def _connect(sock: socket, target: str | tuple[object, ...]) -> None:
    try:
        sock.connect(target)
    except BaseException:
        sock.close()
        raise


class Connection:
    """One connection and what was read from it beyond what was asked for."""

    def __init__(self, sock: socket) -> None:
        self.socket = sock
        self.buffer = b""

    def close(self) -> None:
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def some(self) -> bytes:
        """The next bytes, ``b""`` at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return self.socket.recv(CHUNK)

    def until(self, mark: bytes, limit: int = MAX_HEAD) -> bytes:
        """Bytes up to ``mark``, which is taken and left out."""
        while mark not in self.buffer:
            data = self.socket.recv(65536)
            if not data or len(self.buffer) > limit:
                raise CannotConnect("The daemon hung up before it had answered" if not data else "This is not HTTP")
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def send(self, head: str, body: bytes = b"") -> None:
        self.socket.sendall(head.encode("latin-1") + body)


class Response:
    """A head that was read and a body that is not read yet."""

    def __init__(self, connection: Connection, *, bodiless: bool = False) -> None:
        self.connection = connection
        lines = connection.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, status = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise CannotConnect("What listens there does not speak HTTP")
        self.status = int(status[:3])
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "")
        self.left = int(length) if length.isdigit() and not self.chunked else -1
        if bodiless or self.status in (204, 304):
            self.left, self.chunked = 0, False
        closing = version == "HTTP/1.0" or self.headers.get("connection", "").lower() == "close"
        self.reusable = not closing and (self.chunked or self.left >= 0)

    @property
    def upgraded(self) -> bool:
        return self.status == 101 or (self.status == 200 and self.left < 0 and not self.chunked)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes in."""
        if self.chunked:
            yield from self._chunks()
            return
        while self.left:
            data = self.connection.some()
            if not data:
                if self.left > 0:
                    raise CannotConnect("The daemon hung up in the middle of its answer")
                return
            if 0 <= self.left < len(data):
                data, self.connection.buffer = data[: self.left], data[self.left :]
            self.left -= len(data) if self.left > 0 else 0
            yield data

    def _chunks(self) -> Iterator[bytes]:
        connection = self.connection
        while size := self._chunk_size():
            while size:
                data = connection.some()
                if not data:
                    raise CannotConnect("The daemon hung up in the middle of its answer")
                if len(data) > size:
                    data, connection.buffer = data[:size], data[size:]
                size -= len(data)
                yield data
            connection.until(b"\r\n")
        while connection.until(b"\r\n"):  # trailers
            pass
        self.chunked, self.left = False, 0

    def _chunk_size(self) -> int:
        line = self.connection.until(b"\r\n").partition(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError:
            raise CannotConnect("The daemon's answer is garbled") from None

    def body(self) -> bytes:
        return b"".join(self.pieces())

    def lines(self) -> Iterator[bytes]:
        """The body line by line as it comes in, empty lines left out."""
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line for line in lines if line.strip())
        if rest.strip():
            yield rest


def upload(connection: Connection, source: BinaryIO) -> None:
    """Sends ``source`` as a chunked body. Stops early, without an error, when the daemon answers early: what it
    says is worth more than what we had to say."""
    from select import POLLIN, POLLOUT, poll

    sock = connection.socket
    watch = poll()
    watch.register(sock.fileno(), POLLIN | POLLOUT)
    sock.setblocking(False)
    try:
        while True:
            data = source.read(CHUNK)
            piece = memoryview(b"%x\r\n%b\r\n" % (len(data), data))
            while piece:
                if any(event & ~POLLOUT for _, event in watch.poll()):
                    return
                try:
                    piece = piece[sock.send(piece) :]
                except BlockingIOError:
                    continue
            if not data:
                return
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        sock.setblocking(True)


def length_of(source: BinaryIO) -> int:
    """Bytes from here to the end of a regular file, or -1."""
    import os
    import stat

    try:
        found = os.fstat(source.fileno())
    except (OSError, ValueError):
        return -1
    return found.st_size - source.tell() if stat.S_ISREG(found.st_mode) else -1


def quoted(text: str) -> str:
    """Percent-encoded for a query or a path segment (RFC 3986, unreserved characters and ``/:`` stay)."""
    if text.isalnum() and text.isascii():
        return text
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-_.~/:" else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


__all__ = ["Connection", "Failure", "Response", "connect", "length_of", "quoted", "upload"]
