"""DNS messages as they go over the wire (RFC 1035 section 4), as far as a server of container names needs them.

Of what comes in, only the header, the one question, and the size that the asker can take (EDNS, RFC 6891) are read;
everything else is passed on as it is. Whatever bytes come: a :class:`Query`, ``Malformed``, or nothing to answer.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import NamedTuple

A, NS, PTR, MX, AAAA, OPT = 1, 2, 12, 15, 28, 41
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)

SMALLEST = 512
"""Bytes that every asker takes over UDP."""
LARGEST = 65535
"""Bytes of a message over TCP."""

_HEADER = struct.Struct("!6H")
_RESPONSE, _TRUNCATED, _DESIRED, _AVAILABLE = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE, _CHECKING = 0x7800, 0x0010
_POINTER = b"\xc0\x0c"  # to the name of the question, which begins right after the header
_OURS = 1232  # bytes that we take over UDP: what fits into any packet of IPv6
_RECORDS = 16  # beside a question; more than that nobody sends with it
_V4, _V6 = ".in-addr.arpa", ".ip6.arpa"


class Malformed(Exception):
    """``answer`` is what to say to that."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("malformed DNS message")
        self.answer = answer


class Query(NamedTuple):
    """``name`` is in lower case, without the last dot; ``""`` for what cannot be a name here (odd bytes, the root).
    ``family`` is the class (``IN``);
    ``question`` are the question's bytes; ``size`` is what the asker takes over UDP; ``extended``: it speaks EDNS."""

    ident: int
    flags: int
    name: str
    kind: int
    family: int
    question: bytes
    size: int
    extended: bool


class Record(NamedTuple):
    """One answer to the question: its type, and its data as it goes over the wire."""

    kind: int
    data: bytes


def parse(message: bytes) -> Query | None:
    """None for what must not be answered: too short to say to whom, or an answer itself (it could go on for ever)."""
    if len(message) < _HEADER.size:
        return None
    ident, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        return None
    if flags & _OPCODE:
        raise Malformed(_refusal(ident, flags, NOTIMP))
    try:
        if questions != 1 or answers or authorities or additional > _RECORDS:
            raise ValueError
        labels, end = _labels(message, _HEADER.size)
        kind, family = struct.unpack_from("!2H", message, end)
        end += 4
        size, extended = _extension(message, end, additional)
    except (ValueError, IndexError, struct.error):
        raise Malformed(_refusal(ident, flags, FORMERR)) from None
    return Query(ident, flags, _text(labels), kind, family, message[_HEADER.size : end], size, extended)


def answer(
    query: Query, records: Sequence[Record] = (), *, code: int = NOERROR, limit: int = LARGEST, ttl: int = 0
) -> bytes:
    """A message of at most ``limit`` bytes; where not all records fit, it says so and has those that do."""
    tail = b"" if not query.extended else b"\0" + struct.pack("!2HIH", OPT, _OURS, 0, 0)
    room = limit - _HEADER.size - len(query.question) - len(tail)
    body, fitting = b"", 0
    for record in records:
        entry = _POINTER + struct.pack("!2HIH", record.kind, IN, ttl, len(record.data)) + record.data
        if len(body) + len(entry) > room:
            break
        body += entry
        fitting += 1
    flags = _RESPONSE | _AVAILABLE | query.flags & (_DESIRED | _CHECKING) | code
    if fitting < len(records):
        flags |= _TRUNCATED
    return _HEADER.pack(query.ident, flags, 1, fitting, 0, bool(tail)) + query.question + body + tail


def answers(message: bytes, query: Query) -> bool:
    """Is this an answer to just that question? Servers may give the name back in other letters' cases."""
    begin = _HEADER.size
    if len(message) < begin or not message[2] & 0x80:
        return False
    if message[4:6] == b"\0\0":  # some servers leave the question out when they refuse
        return code(message) in (FORMERR, SERVFAIL, NOTIMP, REFUSED)
    return message[begin : begin + len(query.question)].lower() == query.question.lower()


def code(message: bytes) -> int:
    return message[3] & 0x0F


def with_ident(message: bytes, ident: int) -> bytes:
    return struct.pack("!H", ident) + message[2:]


def encoded(name: str) -> bytes:
    """A name as it goes over the wire. ``ValueError`` if it cannot."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    if any(len(label) > 63 for label in labels) or sum(len(label) + 1 for label in labels) > 254:
        raise ValueError(f"{name!r} is too long for a name in DNS")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reversed_address(name: str) -> bytes | None:
    """The address, packed, that a reverse look-up is about (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    try:
        if name.endswith(_V4):
            parts = name.removesuffix(_V4).split(".")
            return ipaddress.IPv4Address(".".join(reversed(parts))).packed
        if name.endswith(_V6):
            nibbles = name.removesuffix(_V6).split(".")
            if len(nibbles) == 32 and all(len(one) == 1 for one in nibbles):
                return bytes.fromhex("".join(reversed(nibbles)))
    except ValueError:
        return None
    return None


def _labels(message: bytes, at: int) -> tuple[list[bytes], int]:
    """The labels of a name that is written out, and where it ends: there is nothing before it to point to."""
    labels: list[bytes] = []
    begin = at
    while length := message[at]:
        if length > 63 or at + 1 + length >= len(message) or at - begin > 254:
            raise ValueError
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return labels, at + 1


def _text(labels: Sequence[bytes]) -> str:
    if any(b"." in label for label in labels):
        return ""
    try:
        return b".".join(labels).decode("ascii").lower()
    except UnicodeDecodeError:
        return ""


def _extension(message: bytes, at: int, records: int) -> tuple[int, bool]:
    """The size that the asker takes, and whether it speaks EDNS."""
    for _ in range(records):
        at = _skip_name(message, at)
        kind, size, _, length = struct.unpack_from("!2HIH", message, at)
        at += 10 + length
        if at > len(message):
            raise ValueError
        if kind == OPT:
            return max(SMALLEST, size), True
    return SMALLEST, False


def _skip_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise ValueError
        at += 1 + length
    return at + 1


def _refusal(ident: int, flags: int, code: int) -> bytes:
    return _HEADER.pack(ident, _RESPONSE | _AVAILABLE | flags & (_OPCODE | _DESIRED) | code, 0, 0, 0, 0)
