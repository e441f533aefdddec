"""Flags that say something of a block device: ``/dev/sda:1mb``."""

from __future__ import annotations

from sampan.cli.failures import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def rates(words: Sequence[str], read: Callable[[str], int]) -> list[dict[str, Any]]:
    """As the API's ``ThrottleDevice``; ``read`` reads the number. Raises Usage, with Docker's sentences."""
    found = []
    for word in words:
        path, number = _parts(word)
        try:
            rate = read(number)
        except ValueError:
            rate = -1
        if rate < 0:
            raise Usage(
                f"invalid rate for device: {word}. The correct format is <device-path>:<number>[<unit>]. Number must "
                "be a positive integer. Unit is optional and can be kb, mb, or gb"
            )
        found.append({"Path": path, "Rate": rate})
    return found


def weights(words: Sequence[str]) -> list[dict[str, Any]]:
    """As the API's ``WeightDevice``. Raises Usage."""
    found = []
    for word in words:
        path, number = _parts(word)
        weight = int(number) if number.isascii() and number.isdigit() else -1
        if weight != 0 and not 10 <= weight <= 1000:
            raise Usage(f"invalid weight for device: {word}")
        found.append({"Path": path, "Weight": weight})
    return found


def _parts(word: str) -> tuple[str, str]:
    path, colon, number = word.partition(":")
    if not colon or not number:
        raise Usage(f"bad format: {word}")
    if not path.startswith("/dev/"):
        raise Usage(f"bad format for device path: {word}")
    return path, number
