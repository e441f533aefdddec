"""What is asked of registries."""

from __future__ import annotations

import msgspec

from sampan.images.references import Reference
from sampan.images.registry.credentials import NONE, Credentials


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What to pull: ``name`` has a tag or a digest, or ``every`` one of its tags is meant. ``platform`` is as in
    ``--platform``; ``""``: this machine's."""

    name: Reference
    every: bool = False
    platform: str = ""
    credentials: Credentials = NONE
