"""Ways to run ``sampan`` against a daemon that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.cli.app import run
from unit.cli.fake_daemon import Daemon, Result


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "fake.sock")
    yield made
    made.close()


@pytest.fixture
def sampan(daemon: Daemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``sampan("ps", "-a")`` against the daemon, in this process."""
    monkeypatch.setenv("SAMPAN_HOST", f"unix://{daemon.path}")

    def call(*words: str) -> Result:
        code = run(words)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call
