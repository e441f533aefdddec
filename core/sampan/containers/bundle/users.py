"""Who a container runs as: ``user``, ``uid``, ``user:group``, looked up in the container's own passwd and group files.

Source: passwd(5), group(5), and the rules and messages that Docker has for them. The files are the container's, so
they are read inside its root, up to a size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sampan.errors import Invalid
from sampan.linux import paths

LARGEST_FILE = 8 << 20
LARGEST_ID = 2**31 - 1
_RANGE = f"uids and gids must be in range 0-{LARGEST_ID}"


class User(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def find(root: int, text: str, more_groups: Sequence[str] = ()) -> User:
    """``text`` as in ``--user``; ``more_groups`` as in ``--group-add``; ``root`` is the container's root directory.

    Raises ``Invalid`` if a name is not there, or a number is out of range.
    """
    wanted, separator, wanted_group = text.partition(":")
    account = _account(_accounts(_read(root, "etc/passwd")), wanted)
    groups = _groups(_read(root, "etc/group"))
    if separator and wanted_group:
        gid, extra = _gid(groups, wanted_group), list[int]()
    else:
        gid = account.gid
        extra = [group.gid for group in groups if account.name and account.name in group.members]
    extra += [_gid(groups, name) for name in more_groups]
    return User(account.uid, gid, tuple(dict.fromkeys([gid, *extra])), account.home or "/")


def _account(accounts: Sequence[_Account], wanted: str) -> _Account:
    """A number is always an id, never a name made of digits."""
    uid = _number(wanted) if wanted else 0
    for account in accounts:
        if account.uid == uid if uid is not None else account.name == wanted:
            return account
    if uid is None and wanted.removeprefix("-").isdecimal():
        raise Invalid(_RANGE)
    if uid is None:
        raise Invalid(f"unable to find user {wanted}: no matching entries in passwd file")
    return _Account("", _in_range(uid), 0, "/")


def _gid(groups: Sequence[_Group], wanted: str) -> int:
    gid = _number(wanted)
    if gid is not None:
        return _in_range(gid)
    for group in groups:
        if group.name == wanted:
            return group.gid
    raise Invalid(f"unable to find group {wanted}: no matching entries in group file")


def _number(text: str) -> int | None:
    return int(text[:19]) if text.isascii() and text.isdigit() else None


def _in_range(number: int) -> int:
    if number > LARGEST_ID:
        raise Invalid(_RANGE)
    return number


def _read(root: int, path: str) -> list[list[str]]:
    try:
        content = paths.read_file(root, path, LARGEST_FILE)
    except OSError:
        return []
    return [line.strip().split(":") for line in content.decode("utf-8", "surrogateescape").split("\n") if ":" in line]


def _accounts(lines: list[list[str]]) -> list[_Account]:
    return [
        _Account(line[0], uid, gid, line[5] if len(line) > 5 and "\0" not in line[5] else "")
        for line in lines
        if len(line) > 3 and (uid := _id(line[2])) is not None and (gid := _id(line[3])) is not None
    ]


def _groups(lines: list[list[str]]) -> list[_Group]:
    return [
        _Group(line[0], gid, tuple(line[3].split(",")) if len(line) > 3 else ())
        for line in lines
        if len(line) > 2 and (gid := _id(line[2])) is not None
    ]


def _id(text: str) -> int | None:
    number = _number(text)
    return number if number is not None and number <= LARGEST_ID else None
