"""Changes of control files: in the order that the kernel wants, and all or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from sampan.errors import Conflict, Invalid, NotFound
from sampan.linux import cgroups
from sampan_runtime.control import changing

Rule = Callable[[dict[str, str]], int]


class Kernel:
    """Control files that refuse whatever ``rule`` gives an errno for."""

    def __init__(self, rule: Rule, **files: str) -> None:
        self.rule = rule
        self.files = files
        self.writes = 0

    def read(self, path: str) -> str:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.files[path] + "\n"

    def write(self, path: str, value: str) -> None:
        after = {**self.files, path: value}
        if number := self.rule(after):
            raise OSError(number, os.strerror(number), path)
        self.files, self.writes = after, self.writes + 1


def memory(files: dict[str, str]) -> int:
    return errno.EINVAL if int(files["limit"]) > int(files["both"]) else 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kernel]:
    def make(rule: Rule, **files: str) -> Kernel:
        made = Kernel(rule, **files)
        monkeypatch.setattr(cgroups, "read", made.read)
        monkeypatch.setattr(cgroups, "write", made.write)
        return made

    return make


@pytest.mark.parametrize(("limit", "both"), [("10", "20"), ("100", "200"), ("49", "50")])
def test_memory_and_its_sum_with_swap_change_in_either_direction(
    kernel: Callable[..., Kernel], limit: str, both: str
) -> None:
    made = kernel(memory, limit="50", both="60")
    changing.change([("limit", limit), ("both", both)])
    assert made.files == {"limit": limit, "both": both}


def test_what_is_so_already_is_not_written(kernel: Callable[..., Kernel]) -> None:
    made = kernel(memory, limit="50", both="60")
    changing.change([("limit", "50"), ("both", "60")])
    assert made.writes == 0


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EBUSY, Conflict, "pids cannot be set so low"),
        (errno.EINVAL, Invalid, "the kernel refused the value for pids: Invalid argument"),
        (errno.ENODEV, NotFound, "it has just ended"),
    ],
)
def test_one_that_is_refused_takes_the_others_back(
    kernel: Callable[..., Kernel], number: int, kind: type[Exception], words: str
) -> None:
    before = {"limit": "50", "both": "60", "pids": "7", "cpus": ""}
    made = kernel(lambda files: number if files["pids"] == "1" else memory(files), **before)
    with pytest.raises(kind, match=words):
        changing.change([("limit", "100"), ("both", "200"), ("cpus", "0"), ("pids", "1")])
    assert {name: value.strip() for name, value in made.files.items()} == before


def test_a_container_that_has_ended(kernel: Callable[..., Kernel]) -> None:
    kernel(memory)
    with pytest.raises(NotFound):
        changing.change([("limit", "1")])
