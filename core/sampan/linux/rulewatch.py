"""Hearing of every change of nftables' rules, as the kernel tells it (Linux nf_tables.h, ``NFNLGRP_NFTABLES``).

The kernel tells a transaction change by change, and at its end who made it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from sampan.errors import Unavailable
from sampan.linux.netlink import attributes

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 270, 1
_NFNLGRP_NFTABLES = 7
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_TABLE_CHANGES, _NEWGEN = (0, 2), 15  # NFT_MSG_*: those for tables, and the end of a transaction
_TABLE, _SET_NAME, _CHAIN_NAME = 1, 2, 3  # NFTA_*: what a change is about
_CHAIN_CHANGES = (3, 5)
_GEN_PROC_NAME = 3
_HEADER = struct.Struct("=IHHII")
_NFGENMSG = 4
_BUFFER = 1 << 18
_ROOM = 1 << 20  # bytes of changes that may wait to be read
_SOON = 0.02  # seconds
_AT_ONCE = 1000  # messages


class Part(NamedTuple):
    """What was changed: a table (``name`` is ``""``), or a chain, set or map in it, or its rules or elements."""

    family: int
    table: str
    name: str


class Transaction(NamedTuple):
    """``by`` is the name of the thread that made it. ``lost``: changes came faster than they were read."""

    by: str
    parts: frozenset[Part]
    lost: bool = False


class RuleWatch:
    """The changes in the network namespace of the thread that makes it; for one reader, in any thread."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        except OSError as error:
            raise Unavailable(f"changes of the firewall cannot be watched: {error.strerror}") from None
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        self._parts: set[Part] = set()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        for fd in (self._socket.fileno(), self._wake):
            self._poll.register(fd, select.POLLIN)
        self._closed = False

    def close(self) -> None:
        """Ends :meth:`transactions`, which gives the descriptors back. From any thread."""
        self._closed = True
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake, 1)

    def transactions(self, timeout: float | None) -> Iterator[Transaction]:
        """Those of the next messages, soon after they come; nothing after ``timeout`` seconds, or once it is closed."""
        ready = {fd for fd, _ in self._poll.poll(None if timeout is None else timeout * 1000)}
        if self._closed:
            self._socket.close()
            os.close(self._wake)
            raise Unavailable("the watch of the firewall was closed")
        if self._socket.fileno() in ready:
            # Most of them are this process's own: whoever made one has something better to do at this moment.
            time.sleep(_SOON)
            for _ in range(_AT_ONCE):
                try:
                    data = self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return
                except OSError:  # ENOBUFS: what was lost is lost
                    self._parts.clear()
                    yield Transaction("", frozenset(), lost=True)
                else:
                    yield from self._read(data)

    def _read(self, data: bytes) -> Iterator[Transaction]:
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if kind >> 8 == _SUBSYSTEM:
                yield from self._take(kind & 0xFF, data[offset + _HEADER.size : offset + length])
            offset += -(-max(length, _HEADER.size) // 4) * 4

    def _take(self, kind: int, body: bytes) -> Iterator[Transaction]:
        fields = attributes(body, _NFGENMSG)
        if kind == _NEWGEN:
            parts, self._parts = frozenset(self._parts), set()
            yield Transaction(_text(fields.get(_GEN_PROC_NAME, b"")), parts)
            return
        name = {} if kind in _TABLE_CHANGES else fields
        key = _CHAIN_NAME if kind in _CHAIN_CHANGES else _SET_NAME
        self._parts.add(Part(body[0], _text(fields.get(_TABLE, b"")), _text(name.get(key, b""))))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
