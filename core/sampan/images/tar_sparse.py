"""The maps of sparse files in tar archives: which parts of a file are data, the rest being holes.

GNU tar's manual, "Storing Sparse Files", describes the four forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sampan.images.tar_fields import decimal, number

Segments = Sequence[tuple[int, int]]
"""(offset, length) in bytes, ascending."""

_LIMIT = 1 << 18  # segments; an honest file has thousands
_BLOCK = 512


def old_gnu_segments(header: bytes, next_block: Callable[[], bytes]) -> tuple[Segments, int]:
    """The map of a type ``S`` entry, in its header and the blocks that follow, and the file's size.

    ``ValueError`` if it is damaged.
    """
    size = number(header[483:495])
    segments = _pairs(header[386:482])
    more = header[482]
    while more:
        block = next_block()
        segments += _pairs(block[:504])
        more = block[504]
        if len(segments) > _LIMIT:
            raise ValueError
    return segments, size


def _pairs(field: bytes) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(field), 24):
        if not field[at]:
            break
        found.append((number(field[at : at + 12]), number(field[at + 12 : at + 24])))
    return found


def pax_segments(pax: Mapping[bytes, bytes], size: int, next_block: Callable[[], bytes]) -> tuple[Segments | None, int]:
    """The map in pax records (0.0 and 0.1) or in front of the data (1.0), and the file's size.

    ``ValueError`` or ``KeyError`` if it is damaged; None if the records describe no sparse file.
    """
    if pax.get(b"GNU.sparse.major") == b"1":
        return _map_in_data(next_block), decimal(pax[b"GNU.sparse.realsize"])
    if b"GNU.sparse.map" not in pax:
        return None, size
    numbers = [decimal(text) for text in pax[b"GNU.sparse.map"].split(b",") if text]
    return _paired(numbers), decimal(pax[b"GNU.sparse.size"])


def _map_in_data(next_block: Callable[[], bytes]) -> Segments:
    """Decimal numbers, one a line: how many segments, then offset and length of each; padded to a block."""
    numbers: list[int] = []
    rest = b""
    expected = 1
    while len(numbers) < expected:
        *lines, rest = (rest + next_block()).split(b"\n")
        for line in lines:
            if len(numbers) < expected:
                numbers.append(decimal(line))
                expected = 1 + 2 * numbers[0]
        if expected > 2 * _LIMIT or len(rest) > _BLOCK:
            raise ValueError
    return _paired(numbers[1:])


def _paired(numbers: Sequence[int]) -> Segments:
    if len(numbers) % 2:
        raise ValueError
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check_segments(segments: Segments, size: int, data: int) -> None:
    """``ValueError`` unless the segments ascend, fit in the file and take exactly the ``data`` bytes that are there."""
    at = 0
    for offset, length in segments:
        if offset < at or length < 0:
            raise ValueError
        at = offset + length
    if at > size or sum(length for _, length in segments) != data:
        raise ValueError
