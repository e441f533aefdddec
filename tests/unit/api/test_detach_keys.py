"""Detach keys, for clients that leave them to the daemon."""

from __future__ import annotations

import pytest

from sampan.api.wire.keys import DetachKeys, parse
from sampan.errors import Invalid


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-A,d", b"\x01d"),
        ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"),
        ("x", b"x"),
    ],
)
def test_keys_are_what_a_terminal_sends(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ctrl-p,", "pq", ",,x", "ä"])
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="invalid detach keys"):
        parse(text)


@pytest.mark.parametrize(
    ("pieces", "passed", "complete"),
    [
        ([b"ls\r"], [b"ls\r"], False),
        ([b"\x10", b"\x11"], [b"", b""], True),
        ([b"\x10\x11"], [b""], True),
        ([b"\x10", b"\x10", b"\x11"], [b"", b"\x10", b""], True),
        ([b"\x10", b"x", b"\x11"], [b"", b"\x10x", b"\x11"], False),
        ([b"pasted \x10\x11 text"], [b"pasted \x10\x11 text"], False),
        ([b"\x11", b"\x10", b""], [b"\x11", b"", b""], False),
    ],
)
def test_only_the_whole_sequence_leaves(pieces: list[bytes], passed: list[bytes], complete: bool) -> None:
    keys = DetachKeys(parse(""))
    told = [keys.feed(piece) for piece in pieces]
    assert [data for data, _ in told] == passed
    assert told[-1][1] is complete
