"""What the engine itself answers, of what its containers are called."""

from __future__ import annotations

import contextlib
import random

from sampan.networks.names import messages
from sampan.networks.names.directory import Directory
from sampan.networks.names.messages import AAAA, IN, PTR, A, Query, Record

TTL = 600
"""Seconds for which Docker lets answers be kept."""

_ANY = 255


def of(directory: Directory, container: str, query: Query) -> list[Record] | None:
    """The records to answer with, perhaps none; None for what others must be asked.

    Whoever is found by name has no more than addresses: questions for anything else (or for addresses of a version
    that it lacks) have an empty answer, and never leave. Several addresses come in a new order each time.
    """
    if query.family != IN or not query.name:
        return None
    if query.kind == PTR:
        return _pointers(directory, container, query)
    found = directory.find(container, query.name)
    if found is None:
        return None
    v4 = [Record(A, address) for address in found.v4] if query.kind in (A, _ANY) else []
    v6 = [Record(AAAA, address) for address in found.v6] if query.kind in (AAAA, _ANY) else []
    return random.sample(v4, len(v4)) + random.sample(v6, len(v6))


def _pointers(directory: Directory, container: str, query: Query) -> list[Record] | None:
    address = messages.reversed_address(query.name)
    if address is None:
        return None
    with contextlib.suppress(ValueError):  # odd host names may be in use, but not in DNS
        if name := directory.name_of(container, address):
            return [Record(PTR, messages.encoded(name))]
    return None
