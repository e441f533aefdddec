"""Owners in archives and owners on disk, where containers have a user namespace (user_namespaces(7)).

An archive has the ids that the container sees; on disk lie those that they are on the host. Two extended attributes
hold ids as well: a file's capabilities say in whose namespace they count (capabilities(7), "Namespaced file
capabilities"), an access list names users and groups (acl(5)).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from sampan.images.tar_reader import Entry
from sampan.linux.idmaps import IdMap

CAPABILITY, ACCESS = "security.capability", "system.posix_acl_access"
_ACL_USER, _ACL_GROUP = 0x02, 0x08
_ACL_HEADER, _ACL_ENTRY = 4, struct.Struct("<HHI")
_REVISION, _REVISION_2, _REVISION_3 = 0xFF000000, 0x02000000, 0x03000000  # linux/capability.h
_SIZE_2, _SIZE_3 = 20, 24


def to_disk(entry: Entry, ids: IdMap) -> None:
    """Change an entry of an archive to what it is on disk. ``Invalid`` if its owner has no place there."""
    entry.uid, entry.gid = ids.to_host(entry.uid, entry.gid)
    if entry.xattrs:
        entry.xattrs = {key: _to_disk(key.decode(errors="replace"), value, ids) for key, value in entry.xattrs.items()}


def from_disk(name: str, value: bytes, ids: IdMap) -> bytes:
    """An extended attribute on disk as an archive has it."""
    if not ids:
        return value
    if name == ACCESS:
        return _access_list(value, ids.from_host)
    if name != CAPABILITY or len(value) != _SIZE_3:
        return value
    word, root = struct.unpack("<I16xI", value)
    if word & _REVISION != _REVISION_3:
        return value
    inside = ids.from_host(root, 0)[0]
    if inside:
        return value[:_SIZE_2] + struct.pack("<I", inside)
    return struct.pack("<I", word & ~_REVISION | _REVISION_2) + value[4:_SIZE_2]


def _to_disk(name: str, value: bytes, ids: IdMap) -> bytes:
    if name == ACCESS:
        return _access_list(value, ids.to_host)
    if name != CAPABILITY or len(value) not in (_SIZE_2, _SIZE_3):
        return value
    [word] = struct.unpack_from("<I", value)
    root = struct.unpack_from("<I", value, _SIZE_2)[0] if len(value) == _SIZE_3 else 0
    return (
        struct.pack("<I", word & ~_REVISION | _REVISION_3)
        + value[4:_SIZE_2]
        + struct.pack("<I", ids.to_host(root, 0)[0])
    )


def _access_list(value: bytes, change: Callable[[int, int], tuple[int, int]]) -> bytes:
    if (len(value) - _ACL_HEADER) % _ACL_ENTRY.size:
        return value  # none: the kernel says so
    made = [value[:_ACL_HEADER]]
    for tag, permissions, number in _ACL_ENTRY.iter_unpack(value[_ACL_HEADER:]):
        if tag == _ACL_USER:
            number = change(number, 0)[0]
        elif tag == _ACL_GROUP:
            number = change(0, number)[1]
        made.append(_ACL_ENTRY.pack(tag, permissions, number))
    return b"".join(made)
