"""How a container's log is written: ``LogConfig``, checked, and as the monitor wants it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.containers.checks import size
from sampan.errors import Invalid, Unsupported

_KNOWN = frozenset({"max-size", "max-file"})
_DOCKERS = frozenset({"compress", "env", "env-regex", "labels", "labels-regex", "max-buffer-size", "mode", "tag"})


def check(driver: str, options: Mapping[str, str]) -> None:
    """Raises ``Invalid`` for an unknown driver, option or value; ``Unsupported`` for Docker's other options."""
    if driver not in ("", "json-file", "none"):
        raise Invalid(f"logger: no log driver named '{driver}' is registered, use json-file or none")
    if driver == "none":
        return
    for key, value in options.items():
        if key in _DOCKERS:
            if (key, value) not in (("mode", "blocking"), ("compress", "false")):
                raise Unsupported(f"log opt '{key}' of the json-file log driver is not supported yet")
        elif key not in _KNOWN:
            raise Invalid(f"unknown log opt '{key}' for json-file log driver")
    _size(options)
    _files(options)


def order(driver: str, options: Mapping[str, str], path: Path, limits: tuple[int, int]) -> dict[str, Any] | None:
    """For the monitor. ``limits`` are the engine's own: bytes per file (0: no limit) and number of files."""
    if driver == "none":
        return None
    most, files = _size(options), _files(options)
    return {
        "path": str(path),
        "max_size": int(limits[0]) if most is None else most,
        "max_file": files or (limits[1] if most is None else 1),
    }


def _size(options: Mapping[str, str]) -> int | None:
    text = options.get("max-size")
    if text is None:
        return None
    return 0 if text == "-1" else size(text)


def _files(options: Mapping[str, str]) -> int | None:
    text = options.get("max-file")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1000):
        raise Invalid(f"invalid log opt max-file: '{text}', expected a number from 1 to 1000")
    return int(text)
