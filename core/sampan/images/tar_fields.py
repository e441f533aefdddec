"""The small forms inside a tar stream: numbers, texts and the records of pax headers."""

from __future__ import annotations

LARGEST = 1 << 62
"""Bytes; a size beyond this is no size."""


def number(field: bytes) -> int:
    """A number in a header: octal digits, or base-256 if the first bit is set (GNU). ``ValueError`` if neither."""
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        return value - (1 << (len(field) * 8 - 1)) if first & 0x40 else value
    text = until_null(field).strip(b" ")
    if not text:
        return 0
    if not text.isdigit():
        raise ValueError
    return int(text, 8)


def until_null(field: bytes) -> bytes:
    end = field.find(0)
    return field if end < 0 else field[:end]


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """The records ``LENGTH KEY=VALUE\\n`` of an extended header. ``ValueError`` if they are damaged.

    The records of a sparse 0.0 map repeat; they are gathered under ``GNU.sparse.map``, as in 0.1.
    """
    records: dict[bytes, bytes] = {}
    repeated: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.index(b" ", at, at + 20)
        if not data[at:space].isdigit():
            raise ValueError
        end = at + int(data[at:space])
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key or end > len(data) or data[end - 1] != 0x0A or end <= space:
            raise ValueError
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            repeated.append(value)
        records[key] = value
        at = end
    if repeated:
        records[b"GNU.sparse.map"] = b",".join(repeated)
    return records


def decimal(value: bytes, limit: int = LARGEST) -> int:
    if not value.isdigit() or len(value) > 20 or int(value) > limit:
        raise ValueError
    return int(value)


def nanoseconds(value: bytes) -> int:
    """``-12.5`` is twelve and a half seconds before 1970; no floating point, which would lose digits."""
    sign = -1 if value[:1] == b"-" else 1
    seconds, _, fraction = value.removeprefix(b"-").partition(b".")
    if not seconds.isdigit() or (fraction and not fraction.isdigit()) or len(seconds) > 20:
        raise ValueError
    return sign * (int(seconds) * 1_000_000_000 + int((fraction[:9]).ljust(9, b"0")))


def shown(name: bytes) -> str:
    """A name from an archive as it may stand in a sentence: quoted, escaped, not endless."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f'"{text}"' if len(text) <= 200 else f'"{text[:200]}…"'
