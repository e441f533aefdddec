"""Archives into directories that somebody uses: nothing leaves the root, whatever links say."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.errors import Invalid
from sampan.images.layer_tree import Around
from sampan.images.pack import pack_directory, pack_file
from sampan.images.unpack_into import unpack_into

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A container's root with a directory ``/target`` in it, and links that would lead out of it."""
    root = tmp_path / "root"
    (root / "target").mkdir(parents=True)
    (root / "elsewhere").mkdir()
    (root / "target/absolute").symlink_to("/elsewhere")
    (root / "target/climbing").symlink_to("../../../../elsewhere")
    (tmp_path / "elsewhere").mkdir()
    return root


@pytest.fixture
def around(root: Path) -> Iterator[Around]:
    fd = os.open(root, os.O_PATH)
    yield Around(fd, b"target")
    os.close(fd)


def put(directory: Path, archive: io.BytesIO, around: Around | None = None, **options: object) -> None:
    archive.seek(0)
    fd = os.open(directory, os.O_PATH)
    try:
        unpack_into(archive, fd, around, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def archive(*members: str, mode: int = 0o644) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in members:
            member = tarfile.TarInfo(name)
            member.mode, member.uid, member.gid = mode, 7, 8
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = 1
                tar.addfile(member, io.BytesIO(b"x"))
    return out


def test_links_on_the_way_count_from_the_root(root: Path, around: Around, tmp_path: Path) -> None:
    put(root / "target", archive("absolute/a", "climbing/b"), around)
    assert names(root / "elsewhere") == {"a", "b"}
    assert names(tmp_path / "elsewhere") == set()


def test_without_a_root_around_links_lead_nowhere_else(root: Path) -> None:
    put(root / "target", archive("new/a"))
    with pytest.raises(Invalid):
        put(root / "target", archive("absolute/a"))
    assert names(root / "elsewhere") == set()


def test_names_that_climb_are_refused(root: Path, around: Around, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        put(root / "target", archive("../a"), around)
    assert not (root / "a").exists()


def test_names_of_whiteouts_are_names(root: Path, around: Around) -> None:
    (root / "target/kept").touch()
    put(root / "target", archive(".wh.kept", ".wh..wh..opq"), around)
    assert {".wh.kept", ".wh..wh..opq", "kept"} <= names(root / "target")


def test_the_directory_itself_stays_as_it_is(root: Path, around: Around) -> None:
    (root / "target").chmod(0o711)
    put(root / "target", archive("./", "./a", mode=0o777), around)
    assert (root / "target").stat().st_mode & 0o777 == 0o711
    assert (root / "target/a").stat().st_uid == 7


def test_owners_and_names_can_be_others(root: Path, around: Around) -> None:
    put(root / "target", archive("a"), around, owner=(1, 2), only=b"b")
    status = (root / "target/b").stat()
    assert (status.st_uid, status.st_gid) == (1, 2)
    assert not (root / "target/a").exists()


@pytest.mark.parametrize(("there", "name"), [("x/", "x"), ("x", "x/")])
def test_kinds_are_kept_if_asked(root: Path, around: Around, there: str, name: str) -> None:
    put(root / "target", archive(there), around)
    with pytest.raises(Invalid, match="cannot overwrite"):
        put(root / "target", archive(name), around, keep_kinds=True)
    put(root / "target", archive(name), around)
    assert (root / "target/x").is_dir() == name.endswith("/")


def test_what_is_packed_is_named_anew(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/a").write_text("a")
    os.link(tree / "sub/a", tree / "sub/b")
    fd = os.open(tree, os.O_RDONLY)
    try:
        for name, expected in [
            (b"new", ["new", "new/sub", "new/sub/a", "new/sub/b"]),
            (b".", [".", "./sub", "./sub/a", "./sub/b"]),
        ]:
            out = io.BytesIO()
            pack_directory(fd, name, out)
            out.seek(0)
            with tarfile.open(fileobj=out) as tar:
                assert tar.getnames() == expected
                assert tar.getmember(expected[3]).linkname == expected[2]
        out = io.BytesIO()
        pack_file(fd, b"sub", out, b"other")
        out.seek(0)
        with tarfile.open(fileobj=out) as tar:
            assert tar.getnames() == ["other"]
    finally:
        os.close(fd)
