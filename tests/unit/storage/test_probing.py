"""The places where storage drivers try things out."""

from __future__ import annotations

import threading
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


def test_many_at_once_do_not_take_each_others_for_leftovers(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def probe() -> None:
        try:
            for _ in range(200):
                with probe_directory(tmp_path) as place:
                    (place / "file").touch()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=probe) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    assert list(tmp_path.iterdir()) == []
