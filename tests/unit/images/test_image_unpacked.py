"""Layers that a pull had unpacked when the daemon was killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sampan.images.registry.unpacked import Unpacked
from unit.images.image_house import House

LOWER, UPPER = "1" * 64, "2" * 64


def test_they_are_kept_until_they_are_old_or_the_machine_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = Unpacked(tmp_path / "unpacked")
    assert unpacked.open() == {}
    unpacked.put(LOWER, 5)
    unpacked.put(UPPER, 7)
    (tmp_path / "unpacked" / "rubbish").write_text("x")
    (tmp_path / "unpacked" / ("3" * 64)).write_text("half a li")
    assert unpacked.open() == {LOWER: 5, UPPER: 7}
    os.utime(tmp_path / "unpacked" / LOWER, (time.time() - 90_000,) * 2)
    assert unpacked.open() == {UPPER: 7}
    monkeypatch.setattr("sampan.images.registry.unpacked._boot", lambda: "another")
    assert unpacked.open() == {}
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_they_are_not_restored_away_and_can_be_pruned(house: House) -> None:
    driver, unpacked = house.drivers["first"], Unpacked(house.root / "content" / "unpacked")
    for chain, parent in ((LOWER, None), (UPPER, LOWER)):
        driver.begin_layer(chain, parent)
        driver.commit_layer(chain)
        unpacked.put(chain, 5)
    house.state.close()
    house.open()
    assert house.images.layers_in_use() == {LOWER, UPPER}
    assert house.images.sweep() == 10
    assert (driver.layers(), house.images.layers_in_use()) == (set(), set())
