"""What commands print: tables in Docker's layout, ids cut short, sizes and ages in words.

The wording is go-units' (``HumanDuration``, ``HumanSizeWithPrecision``), the layout Go's text/tabwriter with a least
width of 10 and a padding of 3, so that scripts that cut columns out of Docker's tables can cut them out of ours.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def tell(line: str) -> None:
    """One line to stderr, whatever its encoding can bear."""
    try:
        sys.stderr.write(line.encode(errors="backslashreplace").decode() + "\n")
    except UnicodeEncodeError:
        sys.stderr.write(line.encode("ascii", "backslashreplace").decode() + "\n")


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows, the first of which is the header, in columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(10, max(map(len, column)) + 3) for column in zip(*cells, strict=True)]
    return "\n".join(
        "".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]) for row in cells
    )


def short_id(ident: str) -> str:
    """``sha256:4f…`` or ``4f…`` as its first twelve digits."""
    return ident.rpartition(":")[2][:12]


def ellipsis(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def quoted(text: str) -> str:
    """Go's strconv.Quote, near enough."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    for plain, escaped in (("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def size(count: float, digits: int = 3) -> str:
    """Bytes, 1000-based: ``4.27MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if count < 1000:
            return f"{count:.{digits}g}{unit}"
        count /= 1000
    return f"{count:.{digits}g}EB"


def binary_size(count: float) -> str:
    """Bytes, 1024-based, four digits: ``7.637GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            return f"{count:.4g}{unit}"
        count /= 1024
    return f"{count:.4g}PiB"


def span(seconds: float) -> str:
    """A length of time in words: ``About a minute``, ``3 weeks``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = round(whole / 3600)
    if hours == 1:
        return "About an hour"
    for limit, unit, length in ((48, "hours", 1), (24 * 14, "days", 24), (24 * 60, "weeks", 168)):
        if hours < limit:
            return f"{hours // length} {unit}"
    return f"{hours // 720} months" if hours < 24 * 365 * 2 else f"{hours // 8760} years"


def ago(then: float) -> str:
    """How long ago a time in seconds since 1970 was."""
    import time

    return f"{span(time.time() - then)} ago"


def local_time(then: float) -> str:
    """``2024-05-01 10:11:12 +0000 UTC``, as Docker's CreatedAt."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(then))
