"""Netlink: talking to the kernel in batches of messages (netlink(7), rtnetlink(7), RFC 3549).

A batch is one ``sendto``: the kernel works through its messages in order and acknowledges each. That is what makes
joining a container to a network cost its kernel work and no more. The messages themselves are made by
:mod:`sampan.linux.links`; they are encoded here with :mod:`struct`, because the message classes of pyroute2 cost
0.2 s and 24 MB to import and 0.3 ms per message, and these a few microseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sampan.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound, SampanError, Unavailable, Unsupported

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
NLM_F_DUMP, NLM_F_DUMP_INTR = 0x300, 0x10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
_NLA_F_NESTED, _NLA_TYPE_MASK = 0x8000, 0x3FFF
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 11, 12

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 1 << 18
_TIMEOUT = 10.0  # seconds; the kernel answers at once, unless somebody holds its lock for links for very long

_KINDS: dict[int, type[SampanError]] = {
    errno.EEXIST: Conflict,
    errno.EBUSY: Conflict,
    errno.EADDRINUSE: Conflict,
    errno.ENODEV: NotFound,
    errno.ENOENT: NotFound,
    errno.ESRCH: NotFound,
    errno.EADDRNOTAVAIL: NotFound,
    errno.EPERM: Forbidden,
    errno.EACCES: Forbidden,
    errno.EINVAL: Invalid,
    errno.ERANGE: Invalid,
    errno.ENETUNREACH: Invalid,
    errno.EOPNOTSUPP: Unsupported,
    errno.EAFNOSUPPORT: Unsupported,
    errno.ENOBUFS: Exhausted,
    errno.ENOMEM: Exhausted,
}


class Message(NamedTuple):
    """A request. ``what`` says in words what it asks for, as an error's sentence begins: ``adding address x to y``."""

    type: int
    flags: int
    body: bytes
    what: str


class Netlink:
    """One socket in the network namespace of the thread that makes it, usable from any thread. Thread-safe."""

    def __init__(self, protocol: int = 0, *, choosy: bool = False) -> None:
        """``protocol`` is one of netlink(7)'s; 0 is NETLINK_ROUTE. ``choosy``: dumps have only what their request's
        header describes, if the kernel can do that (``NETLINK_GET_STRICT_CHK``)."""
        self._lock = threading.Lock()
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(_TIMEOUT)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        if choosy:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *messages: Message) -> None:
        """Have all of them done, in order; raises the first that failed as a kind of error.

        The kernel goes on after a message that failed: whoever asks undoes the rest.
        """
        failures = [failure for failure in self.attempt(*messages) if failure is not None]
        if failures:
            raise failures[0]

    def attempt(self, *messages: Message) -> list[SampanError | None]:
        """Like :meth:`run`, but reports on each message instead of raising."""
        if not messages:
            return []
        with self._lock:
            first = self._send(messages, NLM_F_REQUEST | NLM_F_ACK)
            results: list[SampanError | None] = [None] * len(messages)
            missing = len(messages)
            while missing:
                for kind, flags, sequence, body in self._receive():
                    number = sequence - first
                    if kind == _NLMSG_ERROR and 0 <= number < len(messages):
                        results[number] = _failure(messages[number].what, flags, body)
                        missing -= 1
            return results

    def transact(self, begin: Message, messages: Sequence[Message], end: Message) -> None:
        """Have all of ``messages`` done, or none, between two that the kernel does not acknowledge (nfnetlink.h);
        raises the first that failed."""
        with self._lock:
            first = self._sequence + 1
            self._sequence += len(messages) + 2
            batch = [_encode(begin, NLM_F_REQUEST, first)]
            batch += [_encode(one, NLM_F_REQUEST | NLM_F_ACK, first + n) for n, one in enumerate(messages, 1)]
            self._socket.send(b"".join([*batch, _encode(end, NLM_F_REQUEST, first + len(batch))]))
            failures = self._outcome(first, [begin, *messages, end])
        if failures:
            raise failures[0]

    def _outcome(self, first: int, batch: Sequence[Message]) -> list[SampanError]:
        failures: list[SampanError] = []
        missing = len(batch) - 2
        while missing:
            for kind, flags, sequence, body in self._receive():
                at = sequence - first
                if kind != _NLMSG_ERROR or not 0 <= at < len(batch):
                    continue
                missing -= 1
                if failure := _failure(batch[at].what, flags, body):
                    failures.append(failure)
                    missing = 0 if at in (0, len(batch) - 1) else missing  # of the others, nothing is said then
        return failures

    def ask(self, message: Message) -> list[bytes]:
        """The bodies of what the kernel answers: one for a request, all of them for a dump (``NLM_F_DUMP``)."""
        while True:
            with self._lock:
                bodies = self._ask(message)
            if bodies is not None:
                return bodies

    def _ask(self, message: Message) -> list[bytes] | None:
        """None: things changed while the kernel was listing them, so the list is not to be trusted."""
        dump = message.flags & NLM_F_DUMP == NLM_F_DUMP
        first = self._send([message], NLM_F_REQUEST)
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != first:
                    continue
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind == _NLMSG_ERROR:
                    if failure := _failure(message.what, flags, body):
                        raise failure
                    return bodies
                if kind == _NLMSG_DONE:
                    return None if interrupted else bodies
                bodies.append(body)
                if not dump:
                    return bodies

    def _send(self, messages: tuple[Message, ...] | list[Message], flags: int) -> int:
        first = self._sequence + 1
        self._sequence += len(messages)
        self._socket.send(b"".join(_encode(message, flags, first + n) for n, message in enumerate(messages)))
        return first

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        try:
            data = self._socket.recv(_BUFFER)
        except TimeoutError:
            raise Unavailable(f"the kernel did not answer a netlink request within {_TIMEOUT:g} s") from None
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
            offset += -(-length // 4) * 4


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded as rtnetlink(7) wants it."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | _NLA_F_NESTED, b"".join(inner))


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in ``data`` from ``offset`` on; the last of a kind wins."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += -(-length // 4) * 4
    return found


def first_attribute(data: bytes, offset: int, wanted: int) -> bytes:
    """The first attribute of a kind, ``b""`` if there is none: for long lists, of whose entries one thing matters."""
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if kind == wanted or length < _ATTRIBUTE.size:
            return data[offset + _ATTRIBUTE.size : offset + length]
        offset += -(-length // 4) * 4
    return b""


def _encode(message: Message, flags: int, sequence: int) -> bytes:
    length = _HEADER.size + len(message.body)
    header = _HEADER.pack(length, message.type, message.flags | flags, sequence, 0)
    return header + message.body + b"\0" * (-length % 4)


def _failure(what: str, flags: int, body: bytes) -> SampanError | None:
    """The error of an acknowledgement: ``struct nlmsgerr``, then what the kernel has to say about it."""
    code = -int.from_bytes(body[:4], "little" if struct.pack("=H", 1)[0] else "big", signed=True)
    if code == 0:
        return None
    said = ""
    if flags & _NLM_F_ACK_TLVS:
        start = 4 + _HEADER.size
        if not flags & _NLM_F_CAPPED:
            start = 4 + int(_HEADER.unpack_from(body, 4)[0])
        said = attributes(body, start).get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    reason = os.strerror(code) + (f" ({said.rstrip('.')})" if said else "")
    return _KINDS.get(code, Unavailable)(f"{what} failed: {reason}")
