"""Sizes and names, as people write them."""

from __future__ import annotations

import pytest

from sampan.quantities import link_name, log_size, size


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
        ("1p", 1 << 50),
    ],
)
def test_size(text: object, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), (7, 7), ("512b", 512), ("1k", 1000), ("20m", 20_000_000), ("1.5GB", 1_500_000_000)]
)
def test_size_of_a_log(text: object, count: int) -> None:
    assert log_size(text) == count


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1x", "1 k m", "0x10", True, None, 1.5, "1e3", "١k", "9" * 400, "9" * 400 + "p"]
)
def test_no_size(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller words the message
        size(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a b", "a/b", "a:b", "sixteen-letters-", "zwölf-zeichen-ä", "a\n"])
def test_no_interface_name(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        link_name(text)
