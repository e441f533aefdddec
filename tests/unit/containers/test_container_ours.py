"""What the engine leaves in a container's root, and that it is no change of the container's."""

from __future__ import annotations

import os
from pathlib import Path

from sampan.containers.files.ours import leave_marks, without_ours
from sampan.drivers.types import Change, ChangeKind

ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def changes(*pairs: tuple[str, ChangeKind]) -> list[Change]:
    return [Change(path, kind) for path, kind in pairs]


def test_ours_go_with_the_directory_that_changed_for_them() -> None:
    found = changes(("/etc", MODIFIED), ("/etc/hosts", ADDED), ("/etc/resolv.conf", ADDED), ("/proc", ADDED))
    assert without_ours(found) == []


def test_the_directory_stays_if_something_else_changed_in_it() -> None:
    found = changes(("/etc", MODIFIED), ("/etc/hosts", ADDED), ("/etc/passwd", DELETED))
    assert [change.path for change in without_ours(found)] == ["/etc", "/etc/passwd"]


def test_what_the_container_put_there_stays() -> None:
    found = changes(("/dev", ADDED), ("/dev/shm", ADDED), ("/dev/mine", ADDED), ("/etc", MODIFIED), ("/sys", ADDED))
    assert [change.path for change in without_ours(found)] == ["/dev", "/dev/mine", "/etc"]


def test_changed_and_deleted_ones_are_the_containers() -> None:
    found = changes(("/etc", MODIFIED), ("/etc/hosts", DELETED), ("/proc", MODIFIED))
    assert without_ours(found) == found


def test_a_directory_that_was_made_for_ours_is_ours() -> None:
    assert without_ours(changes(("/etc", ADDED), ("/etc/mtab", ADDED), ("/.dockerenv", ADDED))) == []


def marked(root: Path) -> None:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        leave_marks(fd, (os.getuid(), os.getgid()))
    finally:
        os.close(fd)


def test_marks_stay_inside_and_replace_nothing(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for each in (root, outside, root / "inside"):
        each.mkdir()
    (root / ".dockerenv").symlink_to(outside / "made")
    (root / "etc").symlink_to(outside)
    (root / str(outside).lstrip("/")).mkdir(parents=True)
    marked(root)
    assert list(outside.iterdir()) == []
    assert (root / ".dockerenv").is_symlink()
    assert (root / str(outside).lstrip("/") / "mtab").is_symlink()


def test_marks_that_are_there_or_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").write_text("mine")
    (tmp_path / "etc").write_text("no directory")
    marked(tmp_path)
    assert (tmp_path / ".dockerenv").read_text() == "mine"
    assert (tmp_path / "etc").read_text() == "no directory"
