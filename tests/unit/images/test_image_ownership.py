"""Owners in archives and owners on disk, where containers have other ids than the host."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from pathlib import Path

import pytest

from sampan.errors import Invalid
from sampan.images import ownership
from sampan.images.pack import pack
from sampan.images.tar_reader import Entry, TarReader
from sampan.images.unpack import unpack
from sampan.images.unpack_into import unpack_into
from sampan.linux.idmaps import IdMap, Range
from sampan.testing.archives import Archive

IDS = IdMap((Range(0, 300_000, 65_536),), (Range(0, 400_000, 65_536),))
NET_RAW = 1 << 13
CAPABILITY = struct.pack("<IIIII", 0x02000001, NET_RAW, 0, 0, 0)
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *each)
    for each in [(1, 6, 0xFFFFFFFF), (2, 4, 5), (4, 4, 0xFFFFFFFF), (8, 4, 6), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
)


def entry(**xattrs: bytes) -> Entry:
    [made] = list(TarReader(Archive().file("f", b"x").stream()))
    made.xattrs = {key.replace("_", ".", 1).encode(): value for key, value in xattrs.items()}
    return made


def test_capabilities_count_in_the_container_s_namespace() -> None:
    found = entry(security_capability=CAPABILITY)
    ownership.to_disk(found, IDS)
    on_disk = found.xattrs[b"security.capability"]
    assert struct.unpack("<IIIIII", on_disk) == (0x03000001, NET_RAW, 0, 0, 0, 300_000)
    assert ownership.from_disk("security.capability", on_disk, IDS) == CAPABILITY


def test_an_access_list_names_ids_too() -> None:
    found = entry(system_posix_acl_access=ACL)
    ownership.to_disk(found, IDS)
    on_disk = found.xattrs[b"system.posix_acl_access"]
    numbers = [number for _, _, number in struct.iter_unpack("<HHI", on_disk[4:])]
    assert numbers == [0xFFFFFFFF, 300_005, 0xFFFFFFFF, 400_006, 0xFFFFFFFF, 0xFFFFFFFF]
    assert ownership.from_disk("system.posix_acl_access", on_disk, IDS) == ACL


@pytest.mark.parametrize("value", [b"", b"x", b"\2\0\0\0xyz", bytes(19), bytes(24)])
def test_nonsense_stays_nonsense(value: bytes) -> None:
    found = entry(system_posix_acl_access=value, security_capability=value, user_x=value)
    ownership.to_disk(found, IDS)
    assert found.xattrs[b"user.x"] == value
    ownership.from_disk("security.capability", value, IDS)
    ownership.from_disk("system.posix_acl_access", value, IDS)


@pytest.mark.root
@pytest.mark.parametrize("style", ["overlay", "in-place"])
def test_a_layer_there_and_back(tmp_path: Path, style: str) -> None:
    headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode()}
    archive = Archive(format=tarfile.PAX_FORMAT).file("deep/er/file", b"x", uid=5, gid=6, pax_headers=headers)
    archive.symlink("link", "deep").hard_link("again", "deep/er/file").directory("d", uid=7, gid=8)
    unpack(archive.stream(), tmp_path, style, ids=IDS)  # type: ignore[arg-type]

    def owner(path: str) -> tuple[int, int]:
        status = (tmp_path / path).lstat()
        return status.st_uid - 300_000, status.st_gid - 400_000

    assert [owner(path) for path in ("deep", "deep/er", "link", "deep/er/file", "again", "d")] == [
        *((0, 0), (0, 0), (0, 0), (5, 6), (5, 6), (7, 8))
    ]
    assert os.getxattr(tmp_path / "again", "security.capability")[-4:] == struct.pack("<I", 300_000)

    out = io.BytesIO()
    root = os.open(tmp_path, os.O_RDONLY)
    pack(root, None, out, IDS)
    os.close(root)
    back = {found.name: found for found in TarReader(io.BytesIO(out.getvalue()))}
    assert {(found.uid, found.gid) for name, found in back.items() if name.startswith(b"deep")} == {(0, 0), (5, 6)}
    assert (back[b"d"].uid, back[b"d"].gid) == (7, 8)
    assert back[b"again"].xattrs == {b"security.capability": CAPABILITY}


@pytest.mark.root
def test_into_somebody_s_directory(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    unpack_into(Archive().file("a/b", b"x", uid=5, gid=6).stream(), directory, ids=IDS)
    unpack_into(Archive().file("c", b"x", uid=5, gid=6).stream(), directory, ids=IDS, owner=(9, 9))
    os.close(directory)
    assert [((tmp_path / path).stat().st_uid, (tmp_path / path).stat().st_gid) for path in ("a", "a/b", "c")] == [
        *((300_000, 400_000), (300_005, 400_006), (300_009, 400_009))
    ]


def test_an_owner_without_a_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match='entry "far" cannot be made: user id 70000 has no place'):
        unpack(Archive().file("far", b"x", uid=70_000).stream(), tmp_path, "overlay", ids=IDS)
