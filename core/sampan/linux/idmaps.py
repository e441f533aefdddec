"""Which ids in a user namespace are which of the host (user_namespaces(7), "User and group ID mappings")."""

from __future__ import annotations

from typing import NamedTuple

from sampan.errors import Invalid

MOST_RANGES = 340  # that the kernel takes


class Range(NamedTuple):
    """``size`` ids, from ``inside`` on in the namespace, from ``outside`` on on the host."""

    inside: int
    outside: int
    size: int


class IdMap:
    """Which users and groups of the host those of a container are. False if they are the same: no namespace."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: tuple[Range, ...] = (), gids: tuple[Range, ...] = ()) -> None:
        self.uids = uids
        self.gids = gids

    def __bool__(self) -> bool:
        return bool(self.uids)

    @property
    def root(self) -> tuple[int, int]:
        """The host's uid and gid of the container's root."""
        return self.to_host(0, 0)

    def to_host(self, uid: int, gid: int) -> tuple[int, int]:
        """``Invalid`` if one of them has no place in the namespace."""
        if not self.uids:
            return uid, gid
        return _to_host(self.uids, uid, "user"), _to_host(self.gids, gid, "group")

    def from_host(self, uid: int, gid: int) -> tuple[int, int]:
        """Ids that have no place in the namespace stay what they are."""
        if not self.uids:
            return uid, gid
        return _from_host(self.uids, uid), _from_host(self.gids, gid)

    def largest_group(self) -> int:
        """The last gid of those that go up from 0 without a gap."""
        return sum(each.size for each in self.gids) - 1 if self.gids else (1 << 31) - 1


SAME = IdMap()


def _to_host(ranges: tuple[Range, ...], number: int, what: str) -> int:
    for inside, outside, size in ranges:
        if inside <= number < inside + size:
            return outside + number - inside
    total = sum(each.size for each in ranges)
    raise Invalid(f"{what} id {number} has no place in the user namespace, which has {total} ids (see userns_remap)")


def _from_host(ranges: tuple[Range, ...], number: int) -> int:
    for inside, outside, size in ranges:
        if outside <= number < outside + size:
            return inside + number - outside
    return number
