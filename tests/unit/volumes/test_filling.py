"""Filling a volume from an image: all of it or nothing, with owners and modes, and safe from links."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sampan.volumes import filling

pytestmark = pytest.mark.root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    made = root / "srv"
    (made / "deep/er").mkdir(parents=True)
    (made / "deep/er/file").write_text("content")
    (made / "program").write_bytes(os.urandom(20_000))
    (made / "program").chmod(0o4750)
    os.chown(made / "program", 12, 34)
    os.link(made / "program", made / "deep/same")
    (made / "link").symlink_to("/etc/passwd")
    os.mkfifo(made / "pipe")
    os.setxattr(made / "program", "user.colour", b"red")
    os.chown(made, 70, 71)
    made.chmod(0o1770)
    return made


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "home/_data"
    made.mkdir(parents=True)
    return made


@contextmanager
def opened(*paths: Path) -> Iterator[list[int]]:
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in paths]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def listed(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def fill(volume: Path, source: Path, beside: Path | None = None) -> None:
    with opened(volume, beside or volume.parent, source) as (inside, outside, origin):
        filling.fill(inside, outside, origin)


def seen(root: Path) -> dict[str, tuple[Any, ...]]:
    """What a tree looks like to somebody in it."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        link = path.readlink() if path.is_symlink() else None
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, content, link)
    return found


def test_everything_is_as_in_the_image(source: Path, volume: Path) -> None:
    fill(volume, source)
    assert seen(volume) == seen(source)
    assert (volume / "program").stat().st_ino == (volume / "deep/same").stat().st_ino
    assert os.getxattr(volume / "program", "user.colour") == b"red"
    assert listed(volume.parent) == ["_data"]


def test_a_file_system_of_its_own(source: Path, volume: Path) -> None:
    fill(volume, source, beside=volume)
    assert seen(volume) == seen(source)


def test_an_empty_directory_gives_its_owner_and_mode(tmp_path: Path, volume: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    os.chown(empty, 5, 6)
    empty.chmod(0o2700)
    fill(volume, empty)
    assert seen(volume) == seen(empty)


def test_what_is_in_use_is_left_alone(source: Path, volume: Path) -> None:
    (volume / "mine").touch()
    before = seen(volume)
    fill(volume, source)
    assert seen(volume) == before


def test_links_of_the_image_lead_nowhere_else(tmp_path: Path, source: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    (root / "out").symlink_to(outside)
    (root / "up").symlink_to("../../../../srv")
    (root / "file").touch()
    with opened(root) as [fd]:
        assert filling.open_directory(fd, "/out") is None
        assert filling.open_directory(fd, "/missing") is None
        found = filling.open_directory(fd, "/up")
        assert found is not None
        assert "program" in os.listdir(found)  # noqa: PTH208 - a descriptor
        os.close(found)
        with pytest.raises(NotADirectoryError):
            filling.open_directory(fd, "/file")


def dying_at(act: int, work: Callable[[], None]) -> bool:
    """Do ``work`` in a child that is killed when it returns from its ``act``th call of C code; did it die?"""
    child = os.fork()
    if child == 0:
        left = [act]

        def burn(_frame: FrameType, event: str, _what: Any) -> None:
            if event == "c_return":
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), 9)

        sys.setprofile(burn)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("own", [False, True], ids=["beside", "inside"])
def test_death_at_any_act_leaves_all_or_nothing(tmp_path: Path, source: Path, own: bool) -> None:
    (source / "deep/er/file").unlink()  # fewer acts
    whole = seen(source)
    deaths, act, outcomes = 0, 0, set()
    while True:
        act += 7  # a prime, and others the next time
        volume = tmp_path / f"{act}/_data"
        volume.mkdir(parents=True)
        beside = volume if own else volume.parent
        if not dying_at(act, lambda volume=volume, beside=beside: fill(volume, source, beside)):  # type: ignore[misc]
            break
        deaths += 1
        with opened(volume, beside) as (inside, outside):
            filling.finish(inside, outside)
        assert not {filling.GROWING, filling.WHOLE} & set(listed(beside))
        outcomes.add(bool(listed(volume)))
        assert not listed(volume) or seen(volume) == whole
        fill(volume, source, beside)
        assert seen(volume) == whole
    assert deaths > 10
    assert outcomes == {True, False}
