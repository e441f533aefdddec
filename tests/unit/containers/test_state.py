"""What becomes of records: when there is no space for them, and when they need not last."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.errors import Exhausted
from sampan.state import State


def test_what_has_no_room_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "engine.db")
    state.put("meta", "small", "before")
    state._db.execute("PRAGMA max_page_count=20")

    def both() -> None:
        with state.transaction():
            state.put("meta", "small", "after")
            state.put("meta", "large", "x" * 200_000)

    with pytest.raises(Exhausted, match="no space is left"):
        both()
    assert state.load("meta", str) == {"small": "before"}
    state.put("meta", "small", "later")
    state.close()
    again = State(tmp_path / "engine.db")
    assert again.load("meta", str) == {"small": "later"}, "the refused transaction took the next one along"
    again.close()


def test_what_need_not_last_is_there_for_the_next_daemon_all_the_same(tmp_path: Path) -> None:
    """Only the disk is not waited for; whoever was killed has left it with the kernel."""
    killed = State(tmp_path / "engine.db")

    def waits() -> bool:
        return bool(killed._db.execute("PRAGMA synchronous").fetchone()[0] == 2)

    killed.put("meta", "passing", "here", lasting=False)
    assert not waits()
    with killed.transaction():
        killed.put("meta", "staying", "here", lasting=False)
        assert waits(), "the outermost says"
    again = State(tmp_path / "engine.db")
    assert again.load("meta", str) == {"passing": "here", "staying": "here"}
    again.close()
    killed.close()
