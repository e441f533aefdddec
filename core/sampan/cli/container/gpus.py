"""``--gpus``: a wish for processors of another kind, in the Engine API's ``DeviceRequest``.

Source: Docker's "Access an NVIDIA GPU" page.
"""

from __future__ import annotations

import csv
from typing import Any

from sampan.cli.failures import Usage

ALL = -1
_CAPABILITY = "gpu"


def requests(words: list[str]) -> list[dict[str, Any]]:
    """``all``, ``2``, or options such as ``"device=0,1"`` and ``count=1,capabilities=utility``. Raises ``Usage``."""
    return [_request(word) for word in words]


def _request(word: str) -> dict[str, Any]:
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Options": {}}
    capabilities = {_CAPABILITY}
    try:
        fields = next(csv.reader([word], strict=True), [])
    except csv.Error:
        fields = []
    given = dict(_pair(field, word) for field in fields)
    if not given or len(given) < len(fields):
        raise Usage(f"invalid argument {word!r} for --gpus: expected all, a number, or options, each of them once")
    for key, value in given.items():
        match key:
            case "count":
                request["Count"] = _count(value, word)
            case "device":
                request["DeviceIDs"] = value.split(",")
            case "driver":
                request["Driver"] = value
            case "capabilities":
                capabilities.update(value.split(","))
            case "options":
                request["Options"] = dict(each.partition("=")[::2] for each in value.split(","))
            case _:
                raise Usage(f"invalid argument {word!r} for --gpus: unexpected key {key!r}")
    if "count" not in given and "device" not in given:
        request["Count"] = 1
    return {**request, "Capabilities": [sorted(capabilities)]}


def _pair(field: str, word: str) -> tuple[str, str]:
    key, equals, value = field.partition("=")
    if equals:
        return key, value
    if field == "all" or field.isdigit():
        return "count", field
    raise Usage(f"invalid argument {word!r} for --gpus: {field!r} is neither all, a number nor key=value")


def _count(text: str, word: str) -> int:
    if text == "all":
        return ALL
    try:
        return int(text)
    except ValueError:
        raise Usage(f"invalid argument {word!r} for --gpus: count must be all or a number, not {text!r}") from None
