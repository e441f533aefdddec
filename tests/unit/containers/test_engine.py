"""The engine's hold on its data root, and that a start that fails lets go of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan import engine
from sampan.config import Config
from sampan.errors import Conflict, Unavailable
from sampan.state import State


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_root=tmp_path / "data", exec_root=tmp_path / "run")


@pytest.mark.parametrize(("root", "name"), [("data_root", "lock"), ("exec_root", "daemon.lock")])
def test_one_daemon_per_root(config: Config, root: str, name: str) -> None:
    held = engine._lock(getattr(config, root), name)
    with pytest.raises(Conflict, match=f"another sampan daemon is already using {getattr(config, root)}"):
        engine.Engine(config).open()
    os.close(held)
    for each, lock in ((config.data_root, "lock"), (config.exec_root, "daemon.lock")):
        os.close(engine._lock(each, lock))


def test_the_instance_stays_the_same(tmp_path: Path) -> None:
    state = State(tmp_path / "engine.db")
    first = engine._instance(state)
    assert len(first) == 8
    assert int(first, 16) >= 0
    state.close()
    again = State(tmp_path / "engine.db")
    assert engine._instance(again) == first
    again.close()


def test_an_engine_that_cannot_open_lets_go(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("not today")

    monkeypatch.setattr(engine, "Drivers", refuse)
    for _ in range(2):
        with pytest.raises(Unavailable, match="not today"):
            engine.Engine(config).open()
