"""How a container's log is written: ``LogConfig``, checked, and as the monitor wants it.

The options are Docker's (documentation, "Configure logging drivers", "JSON File" and "Local file logging driver").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan import quantities
from sampan.errors import Invalid
from sampan.types import Container

_ALL = frozenset({"mode", "max-buffer-size"})
_FILES = frozenset({"max-size", "max-file", "compress"})
_JSON = _FILES | {"env", "env-regex", "labels", "labels-regex", "tag"}
_NON_BLOCKING = "non-blocking"
_BUFFER = 1 << 20  # Docker's
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
DRIVERS = ("json-file", "local", "none")

_TAGS: dict[str, Callable[[Container], str]] = {
    "ID": lambda record: record.id[:12],
    "FullID": lambda record: record.id,
    "Name": lambda record: record.name,
    "ImageID": lambda record: record.image.removeprefix("sha256:")[:12],
    "ImageFullID": lambda record: record.image,
    "ImageName": lambda record: record.image_reference,
    "DaemonName": lambda _record: "sampan",
}
_FIELD = re.compile(r"\{\{\s*\.?(.*?)\s*\}\}")


def check(driver: str, options: Mapping[str, str]) -> None:
    """Raises ``Invalid`` for an unknown driver, option or value."""
    if driver == "none":
        return
    _check_mode(options)
    if driver not in ("", *DRIVERS):
        raise Invalid(f"logger: no log driver named '{driver}' is registered")
    for key in options.keys() - _ALL - (_FILES if driver == "local" else _JSON):
        end = "log driver local" if driver == "local" else "json-file log driver"
        raise Invalid(f"unknown log opt '{key}' for {end}")
    _size(options)
    _files(options)
    if _compresses(options):
        _check_compress(driver, options)
    for key in ("labels-regex", "env-regex"):
        _pattern(options, key)
    for match in _FIELD.finditer(options.get("tag", "")):
        if match[1] not in _TAGS:
            known = ", ".join(f"{{{{.{name}}}}}" for name in _TAGS)
            raise Invalid(f"invalid log opt tag: '{match[0]}', known are {known}")


def order(record: Container, limits: tuple[int, int]) -> dict[str, Any] | None:
    """For the monitor. ``limits`` are the engine's own: bytes per file (0: no limit) and number of files."""
    driver, options = record.host_config["LogConfig"]["Type"], record.host_config["LogConfig"]["Config"]
    if driver == "none":
        return None
    most, files = _size(options), _files(options)
    kept = limits[1] if most is None or driver == "local" else 1
    attrs = dict(_attributes(record, options))
    return {
        "driver": driver,
        "path": record.log_path,
        "max_size": int(limits[0]) if most is None else most,
        "max_file": files or kept,
        "extra": f',"attrs":{json.dumps(attrs, separators=(",", ":"))}' if attrs else "",
        "compress": _compresses(options),
        "buffer": (_buffer(options) or _BUFFER) if options.get("mode") == _NON_BLOCKING else 0,
    }


def path(driver: str, directory: Path, ident: str) -> str:
    """Where the log of container ``ident`` is; empty for a driver that keeps none."""
    names = {"json-file": f"{ident}-json.log", "local": "container.log"}
    return str(directory / names[driver]) if driver in names else ""


def _attributes(record: Container, options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What each entry gets: the labels and variables that are named or match, and the tag."""
    environment = dict(each.partition("=")[::2] for each in record.config["Env"] or ())
    for key, found in (("labels", record.config["Labels"] or {}), ("env", environment)):
        named = options.get(key, "").split(",")
        pattern = _pattern(options, f"{key}-regex")
        for name, value in found.items():
            if name in named or (pattern and pattern.search(name)):
                yield name, value
    if options.get("tag"):
        yield "tag", _FIELD.sub(lambda match: _TAGS[match[1]](record), options["tag"])


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", _NON_BLOCKING):
        raise Invalid(f"logger: logging mode not supported: {mode}, use blocking or {_NON_BLOCKING}")
    if "max-buffer-size" in options:
        if mode != _NON_BLOCKING:
            raise Invalid(f"logger: max-buffer-size option is only supported with 'mode={_NON_BLOCKING}'")
        _buffer(options)


def _compresses(options: Mapping[str, str]) -> bool:
    text = options.get("compress", "false")
    if text not in _TRUE + _FALSE:
        raise Invalid(f"invalid log opt compress: '{text}', expected true or false")
    return text in _TRUE


def _check_compress(driver: str, options: Mapping[str, str]) -> None:
    """There must be older files. Where nothing is said of files, the engine's own limits hold."""
    most, files = _size(options), _files(options)
    if driver == "local" and files == 1:
        raise Invalid("compression cannot be enabled when max file count is 1")
    if driver != "local" and (most == 0 or files == 1 or (most and not files)):
        raise Invalid("compress cannot be true when max-file is less than 2 or max-size is not set")


def _pattern(options: Mapping[str, str], key: str) -> re.Pattern[str] | None:
    text = options.get(key)
    if not text:
        return None
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Invalid(f"invalid log opt {key}: '{text}': {error}") from None


def _buffer(options: Mapping[str, str]) -> int:
    text = options.get("max-buffer-size")
    try:
        return 0 if text is None else quantities.size(text)
    except ValueError:
        raise Invalid(f"error parsing option max-buffer-size: invalid size: '{text}'") from None


def _size(options: Mapping[str, str]) -> int | None:
    text = options.get("max-size")
    if text is None:
        return None
    if text == "-1":
        return 0
    try:
        most = quantities.log_size(text)
    except ValueError:
        raise Invalid(f"invalid size: '{text}', expected a number with k, m, g, t or p behind it") from None
    if not 0 < most < 1 << 63:
        raise Invalid("max-size must be a positive number")
    return most


def _files(options: Mapping[str, str]) -> int | None:
    text = options.get("max-file")
    if text is None:
        return None
    if not re.fullmatch("[+-]?[0-9]{1,9}", text):
        raise Invalid(f"invalid log opt max-file: '{text}', expected a number from 1 to 1000")
    if not 1 <= int(text) <= 1000:
        raise Invalid(f"max-file cannot be less than 1 or more than 1000: '{text}'")
    return int(text)
