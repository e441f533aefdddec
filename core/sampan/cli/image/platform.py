"""``--platform`` of what reads images that are here, as the API wants it."""

from __future__ import annotations

from sampan.cli.failures import Usage
from sampan.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PLATFORM = Flag("platform", "Only this platform, e.g. linux/amd64", str, default="")


def as_json(text: str) -> str | None:
    """``linux/arm/v7`` as an object in JSON; None for nothing. Raises Usage."""
    if not text:
        return None
    import json

    parts: Sequence[str] = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise Usage(f"invalid platform '{text}': write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT", code=1)
    return json.dumps(dict(zip(("os", "architecture", "variant"), parts, strict=False)), separators=(",", ":"))
