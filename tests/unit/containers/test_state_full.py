"""What happens to the records when there is no space for them."""

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
