"""JSON in and out, without the import time of :mod:`json`.

``import json`` compiles regular expressions and takes as long as the rest of ``sampan ps``. Its C accelerator does
all of the work, so we ask it directly; where an interpreter has no such accelerator, the package serves.
"""

from __future__ import annotations

try:
    import _json
except ImportError:  # pragma: no cover - CPython has it
    _json = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Rules:
    """The attributes that the C scanner reads, with json.JSONDecoder's defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def loads(text: bytes | str) -> Any:
    """The value of a JSON text. ValueError when it is none."""
    if isinstance(text, bytes):
        text = text.decode()
    if _json is None:
        import json

        return json.loads(text)
    text = text.strip()
    try:
        value, end = _json.make_scanner(_Rules)(text, 0)  # type: ignore[arg-type]
    except StopIteration:
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def dumps(value: object) -> str:
    """Compact JSON, ASCII only. TypeError for what JSON has no form for."""
    if _json is None:
        import json

        return json.dumps(value, separators=(",", ":"))
    encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
    return "".join(encode(value, 0))


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")
