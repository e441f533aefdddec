"""Roots of other mount namespaces, and trees that nobody else sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.linux import mounts, views
from sampan.linux.paths import open_in_root

pytestmark = pytest.mark.root


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a mount namespace of its own, with a tmpfs of its own on /mnt."""
    script = "mount -t tmpfs none /mnt && touch /mnt/theirs && echo ready && exec sleep 100"
    with subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def names(root: int, path: str) -> set[str]:
    fd = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return set(os.listdir(fd))  # noqa: PTH208 - a descriptor
    finally:
        os.close(fd)


def test_a_process_is_known_by_its_ancestor(other: subprocess.Popen[bytes]) -> None:
    os.close(views.namespace_of(other.pid, os.getpid()))
    for pid, ancestor in ((other.pid, other.pid), (os.getppid(), os.getpid()), (2**22 + 1, 1)):
        with pytest.raises(ProcessLookupError):
            views.namespace_of(pid, ancestor)


def test_a_root_with_its_mounts_and_without(other: subprocess.Popen[bytes]) -> None:
    namespace = views.namespace_of(other.pid, os.getpid())
    root, bare = views.root_of(namespace), views.bare_root_of(namespace)
    try:
        assert names(root, "/mnt") == {"theirs"}
        assert "theirs" not in names(bare, "/mnt")
        assert not Path("/mnt/theirs").exists()
    finally:
        for fd in (namespace, root, bare):
            os.close(fd)


def test_a_tree_put_together_is_seen_by_nobody(tmp_path: Path) -> None:
    for name in ("root/place", "volume"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "volume/file").touch()
    base, volume = mounts.bind(tmp_path / "root"), mounts.bind(tmp_path / "volume")

    def dress(here: int) -> None:
        place = open_in_root(here, "place", os.O_PATH)
        mounts.attach(volume, place)
        os.close(place)

    root, namespace = views.dressed(base, dress)
    try:
        assert names(root, "place") == {"file"}
        assert list((tmp_path / "root/place").iterdir()) == []
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    finally:
        for fd in (root, namespace, base, volume):
            os.close(fd)


def test_what_fails_in_there_is_raised_here(tmp_path: Path) -> None:
    base = mounts.bind(tmp_path)

    def dress(here: int) -> None:
        raise OSError(5, "no such luck")

    with pytest.raises(OSError, match="no such luck"):
        views.dressed(base, dress)
    os.close(base)


def test_a_mount_has_a_path_for_one_piece_of_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    base = mounts.bind(tmp_path)
    assert views.placed(base, lambda place: [path.name for path in place.iterdir()]) == ["file"]
    os.close(base)
