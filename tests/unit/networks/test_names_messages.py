"""DNS's wire format: compared with dnslib's, and held against bytes that nobody would send by mistake."""

from __future__ import annotations

import ipaddress
from typing import Any

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sampan.networks.names import messages
from sampan.networks.names.messages import AAAA, PTR, REFUSED, A, Malformed, Query, Record

LABELS = some.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=63)
NAMES = some.lists(LABELS, min_size=1, max_size=3).map(".".join)


def parsed(message: bytes) -> Query:
    query = messages.parse(message)
    assert query is not None
    return query


def asked(name: str, kind: str = "A", *, size: int = 0) -> bytes:
    question = dnslib.DNSRecord.question(name, kind)
    if size:
        question.add_ar(dnslib.EDNS0(udp_len=size))
    return bytes(question.pack())


@given(NAMES, some.sampled_from(["A", "AAAA", "PTR", "MX", "TXT"]), some.sampled_from([0, 300, 512, 4096]))
def test_questions_are_understood(name: str, kind: str, size: int) -> None:
    query = parsed(asked(name, kind, size=size))
    assert (query.name, query.kind, query.family) == (name.lower(), getattr(dnslib.QTYPE, kind), 1)
    assert (query.size, query.extended) == (max(512, size), bool(size))


@given(NAMES, some.lists(some.ip_addresses(), max_size=60), some.sampled_from([0, 1232]))
def test_answers_are_understood(name: str, addresses: list[Any], size: int) -> None:
    query = parsed(asked(name, size=size))
    records = [Record(A if one.version == 4 else AAAA, one.packed) for one in addresses]
    whole = dnslib.DNSRecord.parse(messages.answer(query, records, ttl=600))
    assert [ipaddress.ip_address(str(one.rdata)) for one in whole.rr] == addresses
    assert whole.header.id == query.ident
    assert (whole.header.qr, whole.header.ra, whole.header.rd, whole.header.tc) == (1, 1, 1, 0)
    assert {one.ttl for one in whole.rr} <= {600}
    assert whole.q.qname == dnslib.DNSLabel(name)
    cut = messages.answer(query, records, limit=query.size)
    assert len(cut) <= query.size
    told = dnslib.DNSRecord.parse(cut)
    assert bool(told.header.tc) == (len(told.rr) < len(records))
    assert [ipaddress.ip_address(str(one.rdata)) for one in told.rr] == addresses[: len(told.rr)]


@given(some.binary(max_size=600))
def test_any_bytes_are_a_question_or_refused_or_left_alone(data: bytes) -> None:
    refusal = None
    try:
        query = messages.parse(data)
    except Malformed as error:
        refusal = error.answer
    if refusal:
        assert len(refusal) == 12
        assert refusal[:2] == data[:2]
        assert refusal[2] & 0x80
    elif query is None:
        assert len(data) < 12 or data[2] & 0x80
    else:
        assert len(messages.answer(query, [Record(A, bytes(4))], limit=512)) <= max(512, len(query.question) + 23)


@given(some.data())
def test_any_change_of_a_question_does_no_harm(data: Any) -> None:
    message = bytearray(asked("web.shore", size=1232))
    for _ in range(data.draw(some.integers(1, 4))):
        message[data.draw(some.integers(0, len(message) - 1))] = data.draw(some.integers(0, 255))
    cut = bytes(message[: data.draw(some.integers(0, len(message)))])
    try:
        query = messages.parse(cut)
    except Malformed:
        return
    if query is not None and query.question.isascii():  # dnslib reads no other names, which are none of its business
        dnslib.DNSRecord.parse(messages.answer(query))


def test_who_points_to_itself_goes_round_nowhere() -> None:
    header = bytes.fromhex("0001 0100 0001 0000 0000 0000")
    for name in ("c00c", "c000", "01", "3f6161", "01 61 c00c", "ffff"):
        with pytest.raises(Malformed):
            messages.parse(header + bytes.fromhex(name) + bytes.fromhex("0001 0001"))
    with pytest.raises(Malformed):
        messages.parse(header[:4] + bytes.fromhex("0002") + header[6:] + b"\x01a\0" + bytes(4))


def test_a_dot_inside_a_label_is_no_dot() -> None:
    query = parsed(bytes.fromhex("0001 0100 0001 0000 0000 0000") + b"\x09web.shore\0" + bytes.fromhex("0001 0001"))
    assert query.name == ""


@given(some.ip_addresses())
def test_reverse_names(address: Any) -> None:
    assert messages.reversed_address(address.reverse_pointer) == address.packed
    query = parsed(asked(address.reverse_pointer, "PTR"))
    told = dnslib.DNSRecord.parse(messages.answer(query, [Record(PTR, messages.encoded("web.shore"))]))
    assert str(told.rr[0].rdata) == "web.shore."


@pytest.mark.parametrize("name", ["1.2.3.in-addr.arpa", "x.2.3.4.in-addr.arpa", "1.ip6.arpa", "web", ""])
def test_what_is_no_reverse_name(name: str) -> None:
    assert messages.reversed_address(name) is None


def test_answers_are_told_from_other_messages() -> None:
    message = asked("Web.Example")
    query = parsed(message)
    answer = messages.answer(query)
    assert messages.answers(answer, query)
    assert messages.answers(answer.replace(b"Web", b"wEB"), query)
    assert not messages.answers(message, query)
    assert not messages.answers(answer.replace(b"Web", b"Wab"), query)
    assert not messages.answers(b"", query)
    assert messages.code(messages.answer(query, code=REFUSED)) == REFUSED
