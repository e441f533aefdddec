"""A hijacked connection: a two-way stream between a client and a container's stream socket.

Each side's end of file is passed on to the other as what it is: the client's as a shutdown for writing, so that a
container's standard input ends while its output goes on; the container's as the end of the connection.

The container's socket is not one of asyncio's transports: those give up reading when writing fails, and the last words
of a container that closed its input early would be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable
from weakref import WeakSet

from sampan.api.wire.keys import DetachKeys

LINGER = 10.0  # seconds in which a client may still read and leave, once its container has ended
PIECE = 256 * 1024
HIGH = 256 * 1024  # bytes waiting for a slow container before the client is held back
HEAD_PATIENCE = 0.05  # seconds for a client to read the answer's head by itself
EAGER = 0.0003  # seconds in which that is looked at again and again
LAST_WORDS = 0.05  # seconds for clients to read what a container said last, before others hear of its end

_dug: WeakSet[Tunnel] = WeakSet()


async def heard(of: str) -> None:
    """Until who is attached to the container ``of`` has read what it said last, or has had the time to: where clients
    wait for its end on another connection, they take it for said that all has come."""
    loop = asyncio.get_running_loop()
    late = loop.time() + LAST_WORDS
    while loop.time() < late and any(each.of == of and each.is_behind() for each in _dug):  # noqa: ASYNC110
        await asyncio.sleep(0.0005)  # nobody tells when a client has read


class Tunnel:
    """``peer`` is non-blocking and belongs to the tunnel; ``of`` is whose it is. The connection calls the ``client_…``
    methods."""

    def __init__(
        self,
        client: asyncio.Transport,
        peer: socket.socket,
        leave: DetachKeys | None = None,
        left: Callable[[], object] = bool,
        of: str = "",
    ) -> None:
        self.of = of
        if of:
            _dug.add(self)
        self._loop = asyncio.get_running_loop()
        self._leave = leave
        self._left = left
        self._client = client
        self._peer = peer
        self._waiting = bytearray()  # for the container
        self._client_ended = False
        self._client_gone = False
        self._deaf = False  # the container takes no more input
        self._ended = False
        self._opened = self._loop.time()
        self._head_is_read()

    def _head_is_read(self) -> None:
        """docker-py drops what it reads together with the head of the answer, so output follows when that was read."""
        if self._ended or self._client_gone:
            return
        waited = self._loop.time() - self._opened
        if waited > HEAD_PATIENCE or not unread(self._client):
            self._loop.add_reader(self._peer, self._readable)
        elif waited < EAGER:
            self._loop.call_soon(self._head_is_read)
        else:
            self._loop.call_later(0.001, self._head_is_read)

    def is_behind(self) -> bool:
        """Is something still on its way to a client who is there?"""
        if self._client_gone or (self._ended and self._client.is_closing()):
            return False
        return not self._ended or unread(self._client) > 0

    # the container's socket

    def _readable(self) -> None:
        try:
            data = self._peer.recv(PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._client.write(data)
        else:
            self._end()

    def _writable(self) -> None:
        self._send()
        if not self._waiting:
            self._loop.remove_writer(self._peer)

    def _send(self) -> None:
        try:
            sent = self._peer.send(self._waiting)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._deaf = True
            sent = len(self._waiting)
        del self._waiting[:sent]
        if len(self._waiting) <= HIGH // 2:
            self._client.resume_reading()
        if not self._waiting:
            self._input_is_through()

    def _input_is_through(self) -> None:
        if self._client_gone:
            self._close()
        elif self._client_ended:
            with contextlib.suppress(OSError):
                self._peer.shutdown(socket.SHUT_WR)

    def _end(self) -> None:
        """Closing while the client still sends would reset the connection and could lose the last output."""
        self._close()
        if self._client.is_closing():
            return
        self._client.resume_reading()
        if self._client_ended or not self._client.can_write_eof():
            self._client.close()
        else:
            self._client.write_eof()
            self._loop.call_later(LINGER, self._client.abort)

    def _close(self) -> None:
        if not self._ended:
            self._ended = True
            self._loop.remove_reader(self._peer)
            self._loop.remove_writer(self._peer)
            self._peer.close()

    # the client's connection

    def client_sent(self, data: bytes) -> None:
        if self._leave and not self._ended:
            data, complete = self._leave.feed(data)
            if complete:
                self._pass_on(data)
                self._left()
                self._end()
                return
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self._ended or self._deaf or not data:
            return
        idle = not self._waiting
        self._waiting += data
        if idle:
            self._send()
            if self._waiting:
                self._loop.add_writer(self._peer, self._writable)
        if len(self._waiting) > HIGH:
            self._client.pause_reading()

    def client_ended(self) -> bool:
        """The client sends no more. Returns whether the connection stays open for the container's output."""
        if self._ended or hung_up(self._client):
            return False
        self._client_ended = True
        if not self._waiting:
            self._input_is_through()
        return True

    def client_lost(self) -> None:
        """What it had sent still arrives."""
        if self._ended:
            return
        self._client_gone = True
        self._loop.remove_reader(self._peer)
        if not self._waiting:
            self._close()

    def client_is_slow(self) -> None:
        if not self._ended:
            self._loop.remove_reader(self._peer)

    def client_caught_up(self) -> None:
        if not self._ended and not self._client_gone:
            self._loop.add_reader(self._peer, self._readable)


def hung_up(transport: asyncio.Transport) -> bool:
    """Has the peer of a Unix socket closed it, not only shut it down for writing? (poll(2): POLLHUP)"""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLHUP)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def unread(transport: asyncio.Transport) -> int:
    """Bytes sent that the client has not read (Unix) or not received (TCP) yet, 0 where nobody can tell (tcp(7))."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, answer)
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
