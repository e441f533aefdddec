"""What the launcher has imported: every fork pays for it in time, every idle container in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sampan.containers.monitors import module_path

NATIVE = "sampan_runtime.native.monitor"
STEPS = ("sampan_runtime.steps", "sampan_runtime.powers")
OURS = ("sampan.linux", "sampan.errors", "sampan.monitor", "sampan_runtime.native", *STEPS)
DEAR = """
argparse asyncio collections concurrent contextlib copyreg dataclasses datetime email enum functools hashlib heapq http
importlib.util inspect json keyword locale logging operator pathlib pickle platform random re reprlib selectors shutil
signal socket ssl string subprocess tempfile threading tokenize traceback typing urllib warnings weakref zipfile
msgspec pyseccomp sampan.containers sampan.drivers sampan.types
"""
LIMIT = 50
"""Modules that are not ours: about as many as there are now. A bare interpreter has half of them."""


def imported() -> set[str]:
    """Run the launcher's interpreter as the daemon does, let it import what the launcher imports, and ask it."""
    code = (
        f"import sys; sys.path[:0] = {module_path([NATIVE])!r}; from sampan.monitor import launcher; "
        f"launcher.load({NATIVE!r}); print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-E", "-B", "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split())


@pytest.fixture(scope="module")
def modules() -> set[str]:
    return imported()


def test_it_has_imported_its_own_and_nothing_else_of_ours(modules: set[str]) -> None:
    ours = {name for name in modules if name.startswith("sampan")}
    packages = {"sampan", "sampan_runtime"}
    assert {"sampan.monitor.launcher", "sampan.monitor.monitor", "sampan.monitor.relay", NATIVE} <= ours
    assert {name for name in ours - packages if not name.startswith(OURS)} == set()


def test_nothing_dear_is_imported(modules: set[str]) -> None:
    assert modules & set(DEAR.split()) == set(), "find another way, or import it late"


def test_there_are_few_modules_altogether(modules: set[str]) -> None:
    outside = {name for name in modules if not name.startswith("sampan")}
    assert len(outside) <= LIMIT, sorted(outside)
