"""Third parties' packages, as pip would install them, in a directory of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

NUMBERS = itertools.count(1)

Package = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """``package(entry_points, code)`` installs a distribution with one module; ``{module}`` in both is its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(group: str, entry: str, code: str, version: str = "1.0") -> str:
        module = f"third_party_{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(dedent(code))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry.format(module=module)}\n")
        return module

    return install
