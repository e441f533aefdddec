"""Attributes of netlink messages, as they are read (rtnetlink(7))."""

from __future__ import annotations

from sampan.linux.netlink import attribute, attributes, first_attribute

HEAD = b"head"
BODY = HEAD + attribute(1, b"one") + attribute(2, b"two!") + attribute(2, b"again") + attribute(3, b"")


def test_all_of_them() -> None:
    assert attributes(BODY, len(HEAD)) == {1: b"one", 2: b"again", 3: b""}


def test_the_first_of_a_kind() -> None:
    assert [first_attribute(BODY, len(HEAD), kind) for kind in (1, 2, 3, 4)] == [b"one", b"two!", b"", b""]


def test_one_that_says_that_it_is_shorter_than_its_own_head_ends_the_list() -> None:
    broken = attribute(1, b"one") + b"\x01\x00\x02\x00" + attribute(3, b"three")
    assert first_attribute(broken, 0, 3) == b""
    assert attributes(broken) == {1: b"one"}
