"""The places where storage drivers try things out."""

from __future__ import annotations

from pathlib import Path

from sampan_storage.probing import probe_directory


def test_what_a_killed_trial_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    dead = tmp_path / ".sampan-check-dead"
    (dead / "work").mkdir(parents=True)
    with probe_directory(tmp_path) as living, probe_directory(tmp_path / "not" / "there") as other:
        assert not dead.exists()
        assert living.is_dir()
        assert other.parent == tmp_path
    assert not list(tmp_path.iterdir())
