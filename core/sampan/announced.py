"""What installed packages announce: their entry points, and whose these are.

Asking for an entry point's distribution parses that package's whole metadata anew each time, two milliseconds of a
daemon's start: here it is done once for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import NamedTuple


class Package(NamedTuple):
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def entries(groups: Iterable[str]) -> dict[str, list[EntryPoint]]:
    """The entry points in each of the groups, of all packages; the directories of packages are read once."""
    found = entry_points()
    return {group: list(found.select(group=group)) for group in groups}


def package(entry: EntryPoint) -> Package | None:
    """Whose it is; None for an entry point that no installed distribution has."""
    return _package(entry.dist) if entry.dist else None


@cache
def _package(dist: Distribution) -> Package:
    told = (getattr(dist, what, None) for what in ("name", "version"))  # damaged metadata says neither
    return Package(*(str(each or "?") for each in told))
