"""Attaching a client to a container's streams, before or after its start, with or without its log first."""

from __future__ import annotations

import itertools
import os
import select
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from sampan.containers.life.transitions import ALIVE
from sampan.containers.monitors import Monitors
from sampan.containers.registry import Entry
from sampan.containers.streams import logs
from sampan.containers.streams.logformats import LogEntry
from sampan.containers.streams.logs import Seam, Wanted
from sampan.errors import Conflict
from sampan.types import Status

_PIECE = 64 * 1024
_HEADER = 8
_BATCH = 256  # entries that are sent at once
_NUMBERS = {"stdout": 1, "stderr": 2}
_HEAD = struct.Struct(">BxxxI")  # of Docker's framing
_MARK = struct.Struct("QQ")  # sampan.monitor.log.Log.mark
_PATIENCE = 10_000  # milliseconds for a log that is written behind the container's back, to a slow disk


def live(
    monitors: Monitors, entry: Entry, *, stdin: bool, stdout: bool, stderr: bool, mark: int | None = None
) -> socket.socket:
    """Our end of a stream; connected now if the container runs, at its start otherwise. ``mark`` is told how far the
    log is where the stream begins (:func:`after_log`)."""
    with entry.lock:
        record = entry.record
        stdin = stdin and bool(record.config["OpenStdin"])
        status = record.state.status
        if status is Status.PAUSED:
            raise Conflict(f"container {record.id} is paused, unpause the container before attach")
        if status is Status.RESTARTING:
            raise Conflict(f"container {record.id} is restarting, wait until the container is running")
        if entry.gone or status in (Status.REMOVING, Status.DEAD):
            raise Conflict(f"container {record.id} is being removed")
        if status in ALIVE:
            return monitors.attach(record.id, stdin=stdin, stdout=stdout, stderr=stderr, mark=mark)
        if mark is not None:
            _mark(mark, Path(record.log_path))
        ours, stream = monitors.stream(stdin=stdin, stdout=stdout, stderr=stderr)
        entry.streams.append((ours, stream))
        return ours


def frame(stream: str, data: bytes, *, tty: bool) -> bytes:
    """Docker's framing (Engine API, "Stream format"), or the bare bytes for a terminal."""
    return data if tty else b"%c\0\0\0%b%b" % (_NUMBERS[stream], len(data).to_bytes(4, "big"), data)


def _mark(fd: int, path: Path) -> None:
    """As the monitor does it, of a container that does not run: nobody writes its log."""
    try:
        status = path.stat()
        os.write(fd, _MARK.pack(status.st_ino, status.st_size))
    except FileNotFoundError:
        os.write(fd, _MARK.pack(0, 0))


def after_log(
    monitors: Monitors, entry: Entry, path: Path, driver: str, wanted: Wanted, *, stdin: bool
) -> socket.socket:
    """A stream that begins with the log and goes on with what is said from now on: nothing twice, nothing left out."""
    marked, mark = os.pipe()
    try:
        inner = live(monitors, entry, stdin=stdin, stdout=wanted.stdout, stderr=wanted.stderr, mark=mark)
    except BaseException:
        os.close(marked)
        raise
    finally:
        os.close(mark)
    return with_log(_replayed(path, driver, wanted, marked), inner, tty=entry.record.config["Tty"])


def _replayed(path: Path, driver: str, wanted: Wanted, marked: int) -> Iterator[LogEntry]:
    """The log, and what is no entry yet, up to where a stream begins: the pipe ``marked`` tells, and is closed."""
    try:
        until, rest = _seam(marked)
    finally:
        os.close(marked)
    yield from logs.read(path, wanted, driver, until)
    yield from filter(wanted.takes, rest)


def _seam(fd: int) -> tuple[Seam | None, list[LogEntry]]:
    """How far the log is, and what was said since its last entry. A monitor that cannot tell has no more to say than
    what is in the log."""
    said = b""
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    while ready.poll(_PATIENCE) and (piece := os.read(fd, _PIECE)):
        said += piece
    if len(said) < _MARK.size:
        return None, []
    at, rests = _MARK.size, []
    while at + _HEAD.size <= len(said):
        number, size = _HEAD.unpack_from(said, at)
        at += _HEAD.size
        rests.append(LogEntry("stderr" if number == _NUMBERS["stderr"] else "stdout", "", said[at : at + size]))
        at += size
    return Seam(*_MARK.unpack_from(said)), rests


def with_log(entries: Iterable[LogEntry], inner: socket.socket | None, *, tty: bool) -> socket.socket:
    """A stream that begins with the log; ``inner`` is the live stream that follows, if any."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def carry() -> None:
        with theirs:
            try:
                framed = (frame(entry.stream, entry.data, tty=tty) for entry in entries)
                while several := list(itertools.islice(framed, _BATCH)):
                    theirs.sendall(b"".join(several))
                if inner:
                    with inner:
                        _relay(theirs, inner)
            except OSError:
                return  # the client has gone

    threading.Thread(target=carry, name="attach", daemon=True).start()
    return ours


def said(text: str, *, tty: bool) -> socket.socket:
    """A stream that says one thing, or nothing, and ends."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        if text:
            theirs.sendall(frame("stdout", text.encode("utf-8", "replace"), tty=tty))
    return ours


def recast(inner: socket.socket, *, framed: bool) -> socket.socket:
    """A stream whose output is ``framed`` as the client wants it, though ``inner``'s is the other way."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    change = partial(frame, "stdout", tty=False) if framed else Unframed().feed

    def carry() -> None:
        with theirs, inner, suppress(OSError):  # the client has gone
            _relay(theirs, inner, change)

    threading.Thread(target=carry, name="attach", daemon=True).start()
    return ours


class Unframed:
    """Takes Docker's framing off, whatever the pieces in which it comes."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> bytes:
        """What is complete by now, of both streams."""
        self._data += data
        found = b""
        while len(self._data) >= _HEADER:
            end = _HEADER + int.from_bytes(self._data[4:_HEADER], "big")
            if len(self._data) < end:
                break
            found += self._data[_HEADER:end]
            self._data = self._data[end:]
        return found


def _relay(client: socket.socket, inner: socket.socket, change: Callable[[bytes], bytes] = bytes) -> None:
    """Carry both ways until the container's side ends; what comes from there is changed."""
    inner.setblocking(True)
    with selectors.DefaultSelector() as ready:
        ready.register(inner, selectors.EVENT_READ, client)
        ready.register(client, selectors.EVENT_READ, inner)
        while True:
            for key, _ in ready.select():
                source, target = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                data = source.recv(_PIECE)
                if data:
                    target.sendall(change(data) if source is inner else data)
                elif source is inner:
                    return
                else:
                    ready.unregister(client)
                    inner.shutdown(socket.SHUT_WR)
