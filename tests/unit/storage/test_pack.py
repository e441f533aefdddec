"""Packing changes into a layer, and that unpacking gives back what was packed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.drivers.types import Change, ChangeKind
from sampan.images.pack import pack
from sampan.images.unpack import unpack

pytestmark = pytest.mark.root


def packed(root: Path, changes: list[Change] | None = None) -> bytes:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        out = io.BytesIO()
        pack(fd, changes, out)
        return out.getvalue()
    finally:
        os.close(fd)


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """What a tar keeps of a tree."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        content: object = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        if path.is_symlink():
            content = os.readlink(path)  # noqa: PTH115 - as it is
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        time = int(status.st_mtime)
        key = os.fspath(path.relative_to(root))
        found[key] = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, time, content, attributes)
    return found


def test_everything_comes_back(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "d").mkdir(parents=True)
    target.mkdir()
    (source / "d/f").write_bytes(b"x" * 1000)
    (source / "link").symlink_to("/somewhere/" + "long" * 60)
    os.link(source / "d/f", source / "z")
    os.mkfifo(source / "fifo")
    os.mknod(source / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.setxattr(source / "d/f", "user.note", b"\x00binary\n=\xff")
    os.chown(source / "d", 3_000_000, 12)
    (source / "d").chmod(0o2751)
    (source / os.fsdecode(b"\xff" * 200)).write_bytes(b"odd name")
    os.utime(source / "d/f", (0, -86400))
    unpack(io.BytesIO(packed(source)), target, "in-place")
    assert described(target) == described(source)
    assert (target / "z").stat().st_ino == (target / "d/f").stat().st_ino


def test_changes_become_entries_and_whiteouts(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/new").write_bytes(b"x")
    (tmp_path / "a/other").write_bytes(b"not changed")
    changes = [
        Change("/a/b/new", ChangeKind.ADDED),
        Change("/a/gone", ChangeKind.DELETED),
        Change("/vanished", ChangeKind.MODIFIED),
    ]
    found = members(packed(tmp_path, changes))
    assert list(found) == ["a", "a/b", "a/b/new", "a/.wh.gone"]
    assert found["a/.wh.gone"].isreg()
    assert found["a/.wh.gone"].size == 0


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    trees = tmp_path / "one", tmp_path / "two"
    for tree, order in zip(trees, ("abc", "cba"), strict=True):
        tree.mkdir()
        for name in order:
            (tree / name).write_bytes(name.encode())
            os.utime(tree / name, (1, 1))
    assert packed(trees[0]) == packed(trees[1])


def test_nothing_is_read_through_links(tmp_path: Path) -> None:
    """A container that puts a link where a changed directory was does not get at the host's files."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"the host's secret")
    (root / "d").symlink_to(outside)
    (root / "f").symlink_to(outside / "secret")
    data = packed(root, [Change("/d/secret", ChangeKind.ADDED), Change("/f", ChangeKind.ADDED)])
    assert b"the host's secret" not in data
    assert members(data)["f"].issym()


def test_other_programs_read_it(tmp_path: Path) -> None:
    name = "d" * 120 + "/" + "n" * 120
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b"content")
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path))) as archive:
        file = archive.extractfile(name)
        assert file is not None
        assert file.read() == b"content"


NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..") and not name.startswith(b".wh.")
)
FILES = st.tuples(
    st.binary(max_size=1500), st.integers(0, 0o7777), st.integers(0, 0xFFFFFFFE), st.integers(-(1 << 31), 1 << 33)
)
TREES = st.recursive(FILES, lambda below: st.dictionaries(NAMES, below, max_size=4), max_leaves=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(NAMES, TREES, max_size=4))
def test_whatever_is_packed_is_unpacked(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    base = tmp_path_factory.mktemp("trip")
    source, target = base / "source", base / "target"
    source.mkdir()
    target.mkdir()
    build(os.fsencode(source), tree)
    data = packed(source)
    unpack(io.BytesIO(data), target, "in-place")
    assert described(target) == described(source)
    assert packed(target) == data


def build(path: bytes, tree: object) -> None:
    assert isinstance(tree, dict)
    for name, below in tree.items():
        here = path + b"/" + name
        if isinstance(below, dict):
            os.mkdir(here)  # noqa: PTH102 - names are bytes
            build(here, below)
            os.utime(here, (1, 1))
        else:
            content, mode, owner, time = below
            with open(here, "wb") as file:  # noqa: PTH123
                file.write(content)
            os.chown(here, owner, owner)
            os.chmod(here, mode)  # noqa: PTH101
            os.utime(here, (time, time))
