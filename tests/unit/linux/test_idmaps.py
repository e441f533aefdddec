"""Ids of a container and ids of the host."""

from __future__ import annotations

import pytest

from sampan.errors import Invalid
from sampan.linux.idmaps import SAME, IdMap, Range

IDS = IdMap((Range(0, 300_000, 1000), Range(1000, 500_000, 10)), (Range(0, 400_000, 65_536),))


def test_each_id_is_another_on_the_host() -> None:
    assert IDS.root == (300_000, 400_000)
    assert IDS.to_host(999, 5) == (300_999, 400_005)
    assert IDS.to_host(1009, 0) == (500_009, 400_000)
    assert IDS.from_host(500_009, 400_005) == (1009, 5)


@pytest.mark.parametrize("ids", [(1010, 0), (0, 65_536)])
def test_what_has_no_place_is_refused_on_the_way_in(ids: tuple[int, int]) -> None:
    with pytest.raises(Invalid, match=r"(user id 1010|group id 65536) has no place .* (1010|65536) ids"):
        IDS.to_host(*ids)


def test_what_has_no_place_stays_as_it_is_on_the_way_out() -> None:
    assert IDS.from_host(0, 7) == (0, 7)
    assert IDS.from_host(301_000, 399_999) == (301_000, 399_999)


def test_none_changes_nothing() -> None:
    assert not SAME
    assert IDS
    assert SAME.to_host(70_000, 5) == SAME.from_host(70_000, 5) == (70_000, 5)
    assert SAME.root == (0, 0)


def test_the_groups_that_may_ping() -> None:
    assert IDS.largest_group() == 65_535
    assert SAME.largest_group() == 2_147_483_647
