"""Users and groups, looked up in a root that is not ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sampan.containers.bundle import users
from sampan.errors import Invalid, SampanError
from unit.containers.container_house import ACCOUNTS, GROUPS


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    directory = tmp_path / "root" / "etc"
    directory.mkdir(parents=True)
    (directory / "passwd").write_text(ACCOUNTS)
    (directory / "group").write_text(GROUPS)
    return directory


@pytest.fixture
def root(etc: Path) -> Iterator[int]:
    fd = os.open(etc.parent, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, (0, 10), "/root")),
        ("root", (0, 0, (0, 10), "/root")),
        ("web", (100, 101, (101, 10), "/home/web")),
        ("100", (100, 101, (101, 10), "/home/web")),
        ("web:wheel", (100, 10, (10,), "/home/web")),
        ("web:", (100, 101, (101, 10), "/home/web")),
        ("1234", (1234, 0, (0,), "/")),
        ("1234:5", (1234, 5, (5,), "/")),
    ],
)
def test_found(root: int, text: str, expected: tuple[object, ...]) -> None:
    assert tuple(users.find(root, text)) == expected


def test_more_groups(root: int) -> None:
    assert users.find(root, "web", ["7", "wheel"]).groups == (101, 10, 7)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("web:staff", "unable to find group staff: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("1:99999999999999999999999", "uids and gids must be in range"),
    ],
)
def test_not_found(root: int, text: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        users.find(root, text)


def test_hostile_files(root: int, etc: Path, tmp_path: Path) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("web:x:0:0::/:/bin/sh\n")
    (etc / "passwd").unlink()
    (etc / "passwd").symlink_to("../../passwd")  # beyond the root: the kernel keeps us inside, where it is a loop
    with pytest.raises(Invalid, match="unable to find user web"):
        users.find(root, "web")
    (etc / "passwd").unlink()
    os.mkfifo(etc / "passwd")
    assert users.find(root, "").uid == 0
    (etc / "passwd").unlink()
    with (etc / "passwd").open("wb") as file:
        file.truncate(users.LARGEST_FILE + 1)
    assert users.find(root, "5").uid == 5


@given(passwd=some.binary(max_size=200), text=some.text(max_size=10))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, passwd: bytes, text: str) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "etc").mkdir()
    (directory / "etc/passwd").write_bytes(b"web:x:1:1::/:/x\n" + passwd)
    (directory / "etc/group").write_bytes(passwd)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        assert users.find(fd, "web").uid == 1
        with suppress(SampanError):
            users.find(fd, text)
    finally:
        os.close(fd)
