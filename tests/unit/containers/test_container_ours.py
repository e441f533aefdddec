"""Mount points that the engine makes are no changes of a container's."""

from __future__ import annotations

from sampan.containers.files.ours import without_ours
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
