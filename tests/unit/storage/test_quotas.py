"""Which way a container's root is limited, and when its project is let go of. Kernels: tests/conformance."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sampan.errors import Invalid
from sampan.linux import projects
from sampan_storage import disks, quotas

SIZE = 16 << 20


class Kernel:
    """A file system with project quotas."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.enforces = True
        self.assigned: dict[Path, int] = {}
        self.limits: dict[int, int] = {}
        self.taken: set[int] = set()
        monkeypatch.setattr(projects, "enforced", lambda path: self.enforces)
        monkeypatch.setattr(projects, "of", lambda path: self.assigned.get(path, 0))
        monkeypatch.setattr(projects, "assign", self.assigned.__setitem__)
        monkeypatch.setattr(projects, "limit", self._limit)
        monkeypatch.setattr(projects, "used", lambda path, number: number in self.taken)
        monkeypatch.setattr(quotas.secrets, "randbelow", lambda below: len(self.taken))

    def _limit(self, path: Path, number: int, size: int) -> None:
        self.limits[number] = size


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """The disks that were made."""
    calls: list[tuple[Path, int]] = []
    monkeypatch.setattr(disks, "make", lambda path, size: calls.append((path, size)))
    return calls


def test_a_directory_becomes_a_project(kernel: Kernel, made: list[object], tmp_path: Path) -> None:
    quotas.limit(tmp_path, SIZE)
    [number] = kernel.limits
    assert (kernel.assigned, kernel.limits[number], made) == ({tmp_path: number}, SIZE, [])


def test_numbers_of_others_are_left_alone(kernel: Kernel, made: list[object], tmp_path: Path) -> None:
    quotas.limit(tmp_path, SIZE)
    [number] = kernel.limits
    kernel.limits.clear()
    kernel.taken = {number}
    quotas.limit(tmp_path, SIZE)
    assert set(kernel.limits) == {number + 1}


def test_without_project_quotas_there_is_a_disk(kernel: Kernel, made: list[object], tmp_path: Path) -> None:
    kernel.enforces = False
    quotas.limit(tmp_path, SIZE)
    assert (made, kernel.assigned) == ([(tmp_path, SIZE)], {})


def test_in_somebodys_project_there_is_a_disk(kernel: Kernel, made: list[object], tmp_path: Path) -> None:
    kernel.assigned[tmp_path.parent] = 7
    quotas.limit(tmp_path, SIZE)
    assert made == [(tmp_path, SIZE)]


@pytest.mark.parametrize("size", [0, -1, 1 << 10, 1 << 60])
def test_impossible_sizes(kernel: Kernel, made: list[object], tmp_path: Path, size: int) -> None:
    with pytest.raises(Invalid):
        quotas.limit(tmp_path, size)
    assert (made, kernel.assigned) == ([], {})


def test_what_goes_takes_its_limit_along(kernel: Kernel, made: list[object], tmp_path: Path) -> None:
    quotas.limit(tmp_path, SIZE)
    quotas.forget(tmp_path)
    assert list(kernel.limits.values()) == [0]


@pytest.mark.parametrize(("own", "above"), [(7, 0), (7, 7), (1 << 21, 1 << 21), (0, 0)])
def test_projects_of_others_keep_their_limits(kernel: Kernel, tmp_path: Path, own: int, above: int) -> None:
    kernel.assigned |= {tmp_path: own, tmp_path.parent: above}
    quotas.forget(tmp_path)
    assert kernel.limits == {}


def test_file_systems_without_projects_are_no_trouble(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def of(path: Path) -> int:
        raise OSError(errno.ENOTTY, "not here")

    monkeypatch.setattr(projects, "of", of)
    quotas.forget(tmp_path)
    quotas.forget(tmp_path / "missing")
