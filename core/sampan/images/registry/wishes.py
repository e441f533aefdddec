"""What is asked of registries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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


class Remote(NamedTuple):
    """A file of a web server. ``tell`` is given Docker's progress messages, ``leaving`` what to call when the client
    goes away."""

    url: str
    tell: Callable[[dict[str, Any]], object]
    leaving: Callable[[Callable[[], object]], object]
