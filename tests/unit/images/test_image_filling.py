"""A layer that two processes unpack is the one that one of them would have made."""

from __future__ import annotations

import contextlib
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import Invalid, Unavailable
from sampan.images.filling import AHEAD, BATCH, Filler, FillError, Hand, Piece, serve
from sampan.linux import messages
from sampan.testing.archives import Archive
from unit.images.image_house import WORKERS
from unit.images.test_image_confined import given

CONTENT = os.urandom(100_000)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(root))] = (
            *(status.st_mode, status.st_uid, status.st_nlink, status.st_size, data),
            *((status.st_mtime_ns,) if path.is_file() else ()),
        )
    return found


def of_everything() -> Archive:
    """Names that come twice, modes that writing would change, links to what may not be filled yet, and many files."""
    archive = Archive(format=tarfile.PAX_FORMAT)
    for number in range(300):
        size = number * 331
        archive.file(f"d{number % 7}/f{number}", CONTENT[:size], mode=0o640, uid=number, mtime=number + 0.25)
    archive.file("twice", b"1" * 5000).file("twice", b"2" * 300).file("large", CONTENT * 12).file("empty")
    archive.file("tool", b"#!" * 900, mode=0o4755).hard_link("link", "twice").file("was", b"x").directory("was")
    pax = {"SCHILY.xattr.user.note": "kept"}
    return archive.file("noted", b"y" * 700, pax_headers=pax).file("gone", b"z").file("d/.wh.gone").file("last", b"9")


@pytest.mark.root
@pytest.mark.parametrize("whiteouts", ["overlay", "in-place"])
def test_help_changes_nothing(tmp_path: Path, whiteouts: Any) -> None:
    data = of_everything().bytes()
    trees = []
    for helped in (False, True):
        directory = tmp_path / str(helped)
        directory.mkdir()
        with given(data) as blob:
            done = WORKERS.unpack(blob, directory, whiteouts, hashed=helped, second="fills" if helped else None)
        trees.append(tree(directory))
        assert os.getxattr(directory / "noted", "user.note") == b"kept"
    assert trees[0] == trees[1]
    assert trees[1]["twice"][4] == b"2" * 300
    assert trees[1]["d5/f299"][4] == CONTENT[: 299 * 331]
    assert done.digest


@pytest.mark.root
def test_who_is_helped_refuses_the_same(tmp_path: Path) -> None:
    hostile = of_everything().file("../outside", b"x").bytes()
    cut = of_everything().bytes()[:-200_000]
    for data, sentence in ((hostile, "outside of the image"), (cut, "truncated")):
        with given(data) as blob, pytest.raises(Invalid, match=sentence):
            WORKERS.unpack(blob, tmp_path, "overlay", second="fills")


# ── the two of them ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def blob(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "blob").write_bytes(CONTENT)
    with (tmp_path / "blob").open("rb") as file:
        yield file.fileno()


@contextlib.contextmanager
def helped(blob: int, serving: Callable[[Any], object], ready: bool = True) -> Iterator[Hand]:
    ours, theirs = messages.pair()

    def work() -> None:
        serving(theirs)
        theirs.close()

    helper = threading.Thread(target=work)
    helper.start()
    try:
        yield Hand(ours, Filler(blob), lambda: ready)
    finally:
        ours.close()
        helper.join(10)


def new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT)


def test_more_than_a_few_batches(blob: int, tmp_path: Path) -> None:
    count = BATCH * (AHEAD + 4) + 5
    with helped(blob, lambda link: serve(link, Filler(blob))) as hand:
        for number in range(count):
            while not hand.is_free():
                pass
            hand.take(new(tmp_path / f"f{number}"), Piece(number * 7, 500 + number, number, b"f"))
        hand.finish()
    for number in range(count):
        assert (tmp_path / f"f{number}").read_bytes() == CONTENT[number * 7 : number * 7 + 500 + number]
        assert (tmp_path / f"f{number}").stat().st_mtime_ns == number


def test_who_is_too_busy_is_not_waited_for(blob: int, tmp_path: Path) -> None:
    begin = threading.Event()

    def slow(link: Any) -> None:
        begin.wait(10)
        serve(link, Filler(blob))

    with helped(blob, slow) as hand:
        taken = 0
        while hand.is_free():
            hand.take(new(tmp_path / str(taken)), Piece(0, 10, 0, b"f"))
            taken += 1
        assert taken == BATCH * (AHEAD + 1)
        begin.set()
        hand.finish()
    assert all((tmp_path / str(number)).stat().st_size == 10 for number in range(taken))


def test_as_long_as_others_work_nobody_helps(blob: int) -> None:
    with helped(blob, lambda link: None, ready=False) as hand:
        assert not hand.is_free()
        hand.finish()


def give(hand: Hand, files: list[int]) -> None:
    for number, fd in enumerate(files):
        hand.take(fd, Piece(0, 10, 0, b"f%d" % number))
    hand.finish()


def test_a_file_that_cannot_be_filled_is_named(blob: int, tmp_path: Path) -> None:
    files = [new(tmp_path / str(number)) for number in range(BATCH + 1)]
    os.close(files[3])
    files[3] = os.open(tmp_path / "3", os.O_RDONLY)
    with helped(blob, lambda link: serve(link, Filler(blob))) as hand, pytest.raises(FillError) as caught:
        give(hand, files)
    assert caught.value.name == b"f3"
    with pytest.raises(FillError, match="shorter"):
        Filler(blob).fill([new(tmp_path / "beyond")], [Piece(len(CONTENT), 1, 0, b"beyond")])


def test_a_helper_that_dies_is_told(blob: int, tmp_path: Path) -> None:
    files = [new(tmp_path / str(number)) for number in range(BATCH + 1)]
    with helped(blob, messages.receive) as hand, pytest.raises(Unavailable, match="died"):
        give(hand, files)
