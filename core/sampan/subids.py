"""Subordinate ids: which users and groups of the host containers' are, by ``runtime.userns_remap``.

The meaning is that of dockerd's ``userns-remap``: a user of this host, whose ranges in ``/etc/subuid`` and
``/etc/subgid`` (subuid(5), subgid(5)) become the ids of containers from 0 on, in the order in which they stand there.
"""

from __future__ import annotations

import grp
import itertools
import pwd
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sampan.config import Config
from sampan.errors import Invalid
from sampan.linux.idmaps import MOST_RANGES, SAME, IdMap, Range

DEFAULT = "default"
DEFAULT_USER = "dockremap"
"""Whose ranges ``default`` means: the user that dockerd makes for it. This engine makes no users."""

_LARGEST = 0xFFFFFFFE  # (uid_t) -1 is nobody's
_KEY = "runtime.userns_remap"


def find(config: Config) -> IdMap:
    """``Invalid`` names what is missing, and where."""
    wanted = config.runtime.userns_remap
    if not wanted:
        return SAME
    user, separator, group = wanted.partition(":")
    if wanted.count(":") > 1 or not user or (separator and not group):
        raise Invalid(f"{_KEY}: {wanted!r} is neither {DEFAULT}, USER, UID nor USER:GROUP")
    owners = [DEFAULT_USER] if wanted == DEFAULT else _names_of_user(user)
    groups = _names_of_group(group) if group else owners
    return IdMap(_ranges(config.runtime.subuid_file, owners), _ranges(config.runtime.subgid_file, groups))


def rooted(config: Config, ids: IdMap) -> Config:
    """The configuration with roots of its own for containers of these ids, so that what belongs to other ids is
    never mixed with theirs: ``UID.GID`` of their root, as with dockerd."""
    if not ids:
        return config
    name = "{}.{}".format(*ids.root)
    return msgspec.structs.replace(config, data_root=config.data_root / name, exec_root=config.exec_root / name)


def _names_of_user(text: str) -> list[str]:
    """How subuid(5) may call a user: by name or by number."""
    try:
        found = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except (KeyError, OverflowError):
        raise Invalid(f"{_KEY}: there is no user {text!r} in /etc/passwd") from None
    return [found.pw_name, str(found.pw_uid)]


def _names_of_group(text: str) -> list[str]:
    try:
        found = grp.getgrgid(int(text)) if text.isdecimal() else grp.getgrnam(text)
    except (KeyError, OverflowError):
        raise Invalid(f"{_KEY}: there is no group {text!r} in /etc/group") from None
    return [found.gr_name, str(found.gr_gid)]


def _ranges(file: Path, owners: list[str]) -> tuple[Range, ...]:
    found: list[Range] = []
    for first, count in _lines(file, owners):
        if first == 0 or count < 1 or first + count - 1 > _LARGEST:
            raise Invalid(f"{_KEY}: {file} gives {owners[0]} the ids {first}:{count}, which cannot be a container's")
        found.append(Range(sum(each.size for each in found), first, count))
    if not found:
        example = f"{owners[0]}:100000:65536"
        raise Invalid(f"{_KEY}: {file} has no ids for {owners[0]}: it needs a line such as {example}")
    if len(found) > MOST_RANGES:
        raise Invalid(f"{_KEY}: {file} has {len(found)} ranges for {owners[0]}; the kernel takes {MOST_RANGES}")
    ordered = sorted(found, key=lambda each: each.outside)
    for before, after in itertools.pairwise(ordered):
        if before.outside + before.size > after.outside:
            raise Invalid(f"{_KEY}: {file} gives {owners[0]} the id {after.outside} twice")
    return tuple(found)


def _lines(file: Path, owners: list[str]) -> Iterator[tuple[int, int]]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise Invalid(f"{_KEY}: {file} cannot be read: {(error.strerror or '').lower()}") from None
    for number, line in enumerate(lines, 1):
        owner, _, rest = line.strip().partition(":")
        if owner not in owners:
            continue
        first, _, count = rest.partition(":")
        if not (first.isdecimal() and count.isdecimal()):
            raise Invalid(f"{_KEY}: {file}:{number} is not NAME:FIRST:COUNT: {line!r}")
        yield int(first), int(count)
