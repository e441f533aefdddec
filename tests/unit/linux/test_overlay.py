"""Overlays as kernels before 6.5 want them, with all layers in one page of text: newer kernels take that too."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.linux import mounts

bind = mounts.bind
pytestmark = pytest.mark.root


@pytest.fixture(params=[False, True], ids=["one by one", "in a page"])
def by_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(mounts, "_layers_are_a_page", request.param)
    return bool(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system that can be an upper layer, of a name that would mean something in a page."""
    if Path("/proc/self/mounts").read_text().find(" / overlay ") >= 0:
        pytest.skip("an overlay cannot be the upper layer of an overlay")
    made = tmp_path / "a,b:c d"
    made.mkdir()
    before = Path("/proc/self/mountinfo").read_text().count(str(tmp_path))
    yield made
    assert Path("/proc/self/mountinfo").read_text().count(str(tmp_path)) == before


def layer(place: Path, name: str, **files: str) -> Path:
    (place / name).mkdir()
    for file, text in files.items():
        (place / name / file).write_text(text)
    return place / name


def read(tree: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY, dir_fd=tree)
    with os.fdopen(fd) as file:
        return file.read()


def test_layers_cover_one_another_and_the_upper_one_takes_what_is_written(place: Path, by_page: bool) -> None:
    lower = [layer(place, "2", both="second"), layer(place, "1", both="first", one="first")]
    upper, work = layer(place, "upper"), layer(place, "work")
    tree = mounts.overlay(lower, upper, work, {"index": "off"})
    try:
        assert (read(tree, "both"), read(tree, "one")) == ("second", "first")
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=tree))
    finally:
        os.close(tree)
    assert [path.name for path in upper.iterdir()] == ["new"]
    assert here() == Path.cwd()


def here() -> Path:
    return Path(os.readlink("/proc/thread-self/cwd"))  # noqa: PTH115


def test_layers_without_an_upper_one(place: Path, by_page: bool) -> None:
    tree = mounts.overlay([layer(place, "2", one="second"), layer(place, "1", other="first")])
    assert (read(tree, "one"), read(tree, "other")) == ("second", "first")
    os.close(tree)


@pytest.mark.parametrize("older", [False, True], ids=["this kernel", "as before 6.15"])
def test_copies_show_the_same_and_outlive_one_another(
    place: Path, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    tree = mounts.overlay([layer(place, "1", one="first")], layer(place, "upper"), layer(place, "work"))
    with monkeypatch.context() as patch:
        if older:
            patch.setattr(mounts, "bind", refusing_descriptors)
        first, second = mounts.copies(tree)
        second, third = mounts.copies(second)
    os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=first))
    os.close(first)
    for fd in (second, third):
        assert (read(fd, "one"), read(fd, "new")) == ("first", "")
        os.close(fd)


def refusing_descriptors(source: Path | str | int) -> int:
    if isinstance(source, int):
        raise OSError(errno.EINVAL, "that is not attached")
    return bind(source)


def test_what_is_wrong_is_the_overlays(place: Path, by_page: bool) -> None:
    with pytest.raises(OSError, match="overlay"):
        mounts.overlay([layer(place, "1")], options={"no-such-option": None})
    with pytest.raises(OSError, match="overlay"):
        mounts.overlay([place / "nowhere"], layer(place, "upper"), layer(place, "work"))


def test_more_layers_than_a_page_holds_are_refused_by_number(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_layers_are_a_page", True)
    lower = [layer(place, f"{number:0>64}") for number in range(64)]
    with pytest.raises(OSError, match="64 layers") as caught:
        mounts.overlay(lower)
    assert caught.value.errno == errno.E2BIG
