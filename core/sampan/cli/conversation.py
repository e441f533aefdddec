"""Our stdin, stdout and stderr, joined to a process in a container over a connection that was taken over.

The Engine API, "Attach to a container": without a terminal, output comes in frames of an 8-byte header (stream, three
zeros, length in big endian) and a payload; with one it comes as it is. Everything waits in one poll, and nothing is
read before what was read last could be sent on, so neither side can fill up the other's memory or lock it up.
"""

from __future__ import annotations

import os

from sampan.cli.failures import Refused
from sampan.cli.terminal import STDIN, STDOUT, Detector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.cli.http import Connection
    from sampan.cli.signals import Signals

STDERR = 2
HEADER = 8


class Frames:
    """Takes frames apart as bytes come in and writes payloads to stdout and stderr."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._stream = STDOUT
        self._complaint = b""

    def feed(self, data: bytes) -> None:
        """Raises Refused when the daemon sends an error in the stream (stream 3)."""
        view = memoryview(self._buffer + data if self._buffer else data)
        self._buffer = b""
        while view:
            if not self._left:
                if len(view) < HEADER:
                    self._buffer = bytes(view)
                    return
                self._stream, self._left = view[0], int.from_bytes(view[4:HEADER], "big")
                view = view[HEADER:]
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            self._deliver(piece)

    def _deliver(self, piece: memoryview) -> None:
        if self._stream == 3:
            self._complaint += piece
            if not self._left:
                raise Refused(self._complaint.decode(errors="replace").strip(), 500)
        else:
            write(STDERR if self._stream == STDERR else STDOUT, piece)


def write(number: int, data: bytes | memoryview) -> None:
    """All of ``data``, to a descriptor that may take it in parts."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(number, view) :]
        except BlockingIOError:  # somebody made our terminal non-blocking
            from select import select

            select([], [number], [])


class Conversation:
    """One conversation.

    ``stdin``: we pass ours on; ``tty``: the other side has a terminal; ``detach``: the keys that end it;
    ``on_signal`` is called with each signal's number.
    """

    def __init__(
        self,
        connection: Connection,
        signals: Signals,
        *,
        stdin: bool,
        tty: bool,
        detach: bytes = b"",
        on_signal: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._signals = signals
        self._stdin = stdin
        self._receive = (lambda data: write(STDOUT, data)) if tty else Frames().feed
        self._detector = Detector(detach if tty else b"")
        self._on_signal = on_signal
        self._pending = memoryview(b"")
        self._finished = not stdin

    def hold(self) -> bool:
        """Until the other side ends or the user detaches. Says whether it was the other side."""
        from select import POLLIN, POLLOUT, poll

        sock, here = self._connection.socket, self._connection.fileno()
        sock.setblocking(False)
        watch = poll()
        watch.register(self._signals.fileno(), POLLIN)
        watch.register(here, POLLIN)
        reading = False
        if self._connection.buffer:
            self._receive(self._connection.some())
        while True:
            if (wish := self._stdin and not self._pending) != reading:
                watch.register(STDIN, POLLIN) if wish else watch.unregister(STDIN)
                reading = wish
            watch.modify(here, POLLIN | (POLLOUT if self._pending else 0))
            for number, event in watch.poll():
                if number == self._signals.fileno():
                    for signal in self._signals.arrived():
                        self._on_signal(signal)
                elif number == STDIN:
                    self._read_stdin()
                elif event & ~POLLOUT and self._ended():
                    return True
            self._send()
            if self._detector.found:
                return False

    def _read_stdin(self) -> None:
        try:
            typed = os.read(STDIN, 65536)
        except BlockingIOError:
            return
        except OSError:  # closed, or the terminal is gone
            typed = b""
        self._stdin = bool(typed)
        self._pending = memoryview(self._detector.feed(typed))

    def _send(self) -> None:
        sock = self._connection.socket
        try:
            while self._pending:
                self._pending = self._pending[sock.send(self._pending) :]
            if not self._stdin and not self._finished:
                self._finished = True
                sock.shutdown(1)  # SHUT_WR: the end of stdin, output still comes
        except BlockingIOError:
            return
        except OSError:  # the other side does not listen any more; it may still have something to say
            self._stdin, self._finished, self._pending = False, True, memoryview(b"")

    def _ended(self) -> bool:
        try:
            data = self._connection.some()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        if data:
            self._receive(data)
        return not data
