"""What the interfaces of a container are called inside: ``eth0``, ``eth1`` …, unless somebody wants it otherwise.

The options are Docker's: a network may have a prefix of its own, and an endpoint a name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence

from sampan.errors import Invalid
from sampan.types import Endpoint, Network

NAME = "com.docker.network.endpoint.ifname"
PREFIX = "com.docker.network.container_iface_prefix"
_USUAL = "eth"
_VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")  # fifteen bytes are all that the kernel has room for


def check(options: Mapping[str, str]) -> None:
    """``Invalid`` if an endpoint's options name its interface as no link can be called."""
    name = options.get(NAME)
    if name is not None and (not _VALID.fullmatch(name) or name in ("lo", "all", "default")):
        raise Invalid(f"invalid interface name {name!r} ({NAME}): 1 to 15 letters, digits and '_.-' are allowed")


def names(places: Sequence[tuple[Endpoint, Network]], taken: Collection[str] = ()) -> list[str]:
    """A name for each, none of them ``taken``. ``Invalid`` if two endpoints want the same."""
    wanted = [endpoint.driver_options.get(NAME, "") for endpoint, _ in places]
    used = set(taken)
    for name in filter(None, wanted):
        if name in used:
            raise Invalid(f"two of the container's interfaces cannot be called {name!r} ({NAME})")
        used.add(name)
    found = []
    for name, (_, network) in zip(wanted, places, strict=True):
        prefix = network.spec.options.get(PREFIX) or _USUAL
        found.append(name or next(one for one in (f"{prefix}{n}" for n in itertools.count()) if one not in used))
        used.add(found[-1])
    return found
