"""User namespaces and the network namespaces that they own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.errors import Unavailable
from sampan.linux import userns
from sampan.linux.idmaps import IdMap, Range
from sampan.linux.netns import inside

pytestmark = pytest.mark.root

IDS = IdMap((Range(0, 300_000, 65_536),), (Range(0, 400_000, 65_536),))


@pytest.fixture
def made() -> Iterator[tuple[int, int]]:
    both = userns.create(IDS)
    yield both
    for fd in both:
        os.close(fd)


def same(one: int, other: int) -> bool:
    return os.path.sameopenfile(one, other)


def test_it_owns_a_network_namespace(made: tuple[int, int]) -> None:
    users, network = made
    owner = userns.owner(network)
    assert same(owner, users)
    assert not same(network, inside(network, lambda: os.open("/proc/self/ns/net", os.O_RDONLY)))
    os.close(owner)


def test_no_process_is_left(made: tuple[int, int]) -> None:
    wanted = os.fstat(made[0]).st_ino
    for entry in Path("/proc").glob("[0-9]*/ns/user"):
        try:
            assert entry.stat().st_ino != wanted
        except OSError:
            continue


def test_another_network_namespace_for_one_that_is_there(made: tuple[int, int]) -> None:
    users, network = userns.create_network(Path(f"/proc/self/fd/{made[0]}"))
    owner = userns.owner(network)
    assert same(users, made[0])
    assert same(owner, made[0])
    assert not same(network, made[1])
    for fd in (users, network, owner):
        os.close(fd)


def test_its_ids_are_as_wanted(made: tuple[int, int]) -> None:
    """Seen by what the kernel makes of a file's owner for a process in there."""
    child = os.fork()
    if child == 0:
        try:
            from sampan.linux.namespaces import CLONE_NEWUSER, setns

            setns(made[0], CLONE_NEWUSER)
            text = Path("/proc/self/uid_map").read_text().split(), Path("/proc/self/gid_map").read_text().split()
            os._exit(0 if text == (["0", "300000", "65536"], ["0", "400000", "65536"]) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_refusal_is_a_sentence() -> None:
    overlapping = IdMap((Range(0, 300_000, 10), Range(5, 300_000, 10)), (Range(0, 400_000, 10),))
    with pytest.raises(Unavailable, match=r"the kernel refused the ids .*300000.* of a user namespace"):
        userns.create(overlapping)
