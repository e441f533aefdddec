"""However the network cuts what a client sends, it means the same."""

from __future__ import annotations

import contextlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from sampan.api.wire.chunked import ChunkedReader
from sampan.api.wire.request import BadRequest, HeadReader

HEAD = b"POST /images/load?quiet=1 HTTP/1.1\r\nHost: x\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(st.integers(min_value=0)), st.binary())
def test_heads(places: list[int], behind: bytes) -> None:
    reader, request, rest = HeadReader(), None, b""
    for piece in cut(HEAD + behind, places):
        if request is None:
            request, rest = reader.feed(piece)
        else:
            rest += piece
    assert request is not None
    assert (request.method, request.path, request.query) == ("POST", "/images/load", "quiet=1")
    assert request.chunked
    assert rest == behind


@given(st.lists(st.binary(min_size=1) | st.just(b"as long")), st.lists(st.integers(min_value=0)), st.binary())
def test_chunks(chunks: list[bytes], places: list[int], behind: bytes) -> None:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader, decoded, rest = ChunkedReader(), b"", b""
    for piece in cut(coded + behind, places):
        if reader.done:
            rest += piece
            continue
        pieces, rest = reader.feed(piece)
        decoded += b"".join(pieces)
    assert reader.done
    assert decoded == b"".join(chunks)
    assert rest == behind


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    for reader in (HeadReader(), ChunkedReader()):
        with contextlib.suppress(BadRequest):
            reader.feed(data)
