"""Sizes and durations, as people write them."""

from __future__ import annotations

import pytest

from sampan.quantities import Duration, LinkName, Size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        (7, 7),
        ("512b", 512),
        ("1k", 1024),
        ("1KB", 1024),
        ("2 MiB", 2 << 20),
        ("1.5g", 3 << 29),
        ("1T", 1 << 40),
    ],
)
def test_size(text: object, count: int) -> None:
    assert Size.parse(text) == count


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1 k m", "0x10", True, None, 1.5, "1e3", "١k"])
def test_no_size(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller words the message
        Size.parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), (2, 2), (0.5, 0.5), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("1.5s", 1.5)]
)
def test_duration(text: object, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1d", "1s2", False, None])
def test_no_duration(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Duration.parse(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a b", "a/b", "a:b", "sixteen-letters-", "zwölf-zeichen-ä", "a\n"])
def test_no_interface_name(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        LinkName.parse(text)
