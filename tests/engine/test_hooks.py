"""Packages with hooks, installed by pip, in a real engine: they amend and watch, and no harm comes of bad ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from harness import Engine

pytestmark = pytest.mark.root

EXAMPLE = Path(__file__).parents[2] / "examples" / "label-and-metric"
Install = Callable[..., Path]


class HookedEngine(Engine):
    """Its daemon finds what is installed in ``packages``."""

    packages: Path

    def environment(self) -> dict[str, str]:
        metrics = {"LABEL_AND_METRIC_FILE": f"{self.root}/metrics.prom"}
        return super().environment() | {"PYTHONPATH": str(self.packages)} | metrics


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    return tmp_path / "packages"


@pytest.fixture
def install(tmp_path: Path, packages: Path) -> Install:
    """``install(directory)`` installs a project; ``install(name="x", code="…")`` one that is made of that module."""

    def install(directory: Path | None = None, *, name: str = "", code: str = "") -> Path:
        if directory is None:
            directory = tmp_path / name
            directory.mkdir()
            (directory / f"{name}.py").write_text("from sampan.drivers import hookimpl\n" + dedent(code))
            (directory / "pyproject.toml").write_text(
                f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
                f'[project]\nname = "{name}"\nversion = "1.0"\n'
                f'[project.entry-points."sampan.hooks"]\n{name} = "{name}"\n'
                f'[tool.hatch.build.targets.wheel]\ninclude = ["{name}.py"]\n'
            )
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--target", str(packages), str(directory)], check=True, timeout=100)
        return packages

    return install


@pytest.fixture
def engine_with(packages: Path) -> Iterator[Callable[..., Engine]]:
    """``engine_with(**settings)`` starts an engine that finds what was installed."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Engine:
            engine = HookedEngine(**settings)
            engine.packages = packages
            return stack.enter_context(engine)

        yield start


def test_the_example_labels_and_counts(install: Install, engine_with: Callable[..., Engine], docker_cli: str) -> None:
    install(EXAMPLE)
    engine = engine_with()
    image = engine.image()
    [found] = [each for each in engine.api("GET", "/sampan/drivers")[1] if each["family"] == "hooks"]
    assert (found["name"], found["package"], found["usable"]) == ("label-and-metric", "sampan-label-and-metric", True)
    engine.docker("run", "-d", "--name", "boat", "--label", "own=1", image, "sleep", "100").ok()
    engine.docker("run", "-d", "--name", "ship", "--label", "org.example.host=mine", image, "sleep", "100").ok()
    labels = json.loads(engine.docker("inspect", "-f", "{{json .Config.Labels}}", "boat").out)
    assert labels == {"own": "1", "org.example.host": os.uname().nodename}
    assert engine.docker("ps", "-q", "--filter", "label=org.example.host=mine").out != ""
    engine.docker("network", "create", "pier").ok()
    file = engine.root / "metrics.prom"
    wanted = ('{type="container",action="start"} 3', '{type="network",action="create"}')
    engine.wait_until(lambda: all(each in file.read_text() for each in wanted), "events are counted")
    steps = engine.sampan("explain", "boat").out
    assert "ask the hook container_creating" in steps
    assert "ask the hook container_starting" in steps


def test_hooks_that_raise_hang_or_leave_nonsense_are_passed_over(
    install: Install, engine_with: Callable[..., Engine]
) -> None:
    install(
        name="raises",
        code="""
        @hookimpl
        def container_starting(spec):
            spec["process"]["args"] = ["rubbish"]
            raise RuntimeError("overboard")

        @hookimpl
        def container_event(event):
            raise RuntimeError("overboard")
        """,
    )
    install(
        name="nonsense",
        code="""
        @hookimpl
        def container_starting(spec):
            spec["process"] = None
        """,
    )
    install(
        name="hangs",
        code="""
        import threading

        @hookimpl
        def container_starting(container, spec):
            if container["name"] == "stuck":
                threading.Event().wait()

        @hookimpl
        def network_event(event):
            threading.Event().wait()
        """,
    )
    install(name="broken", code="import no_such_module")
    install(
        name="good",
        code="""
        @hookimpl(trylast=True)
        def container_starting(spec):
            spec["process"]["env"].append("HOOKED=yes")
        """,
    )
    engine = engine_with(hooks={"patience": 0.5})
    image = engine.image()
    assert engine.sampan("run", "--rm", image, "printenv", "HOOKED").out == "yes"
    begun = time.monotonic()
    assert engine.sampan("run", "--name", "stuck", image, "printenv", "HOOKED").out == "yes"
    assert time.monotonic() - begun > 0.5
    begun = time.monotonic()
    engine.sampan("start", "-a", "stuck").ok()  # it hangs still, and is not waited for again
    engine.sampan("run", "--rm", image, "true").ok()
    assert time.monotonic() - begun < 5
    found = {each["name"]: each for each in engine.api("GET", "/sampan/drivers")[1] if each["family"] == "hooks"}
    assert {name: each["usable"] for name, each in found.items()} == {
        "raises": True,
        "nonsense": True,
        "hangs": False,
        "broken": False,
        "good": True,
    }
    assert "has not come back for 0.5 seconds" in found["hangs"]["reason"]
    assert "RuntimeError: overboard" in found["raises"]["reason"]
    assert "no usable spec" in found["nonsense"]["reason"]
    assert "no_such_module" in found["broken"]["reason"]
    table = engine.sampan("drivers").out
    assert "no_such_module" in table
    for name in ("raises", "nonsense", "hangs"):
        assert f"of {name} ({name})" in engine.log
    begun = time.monotonic()
    engine.stop()  # what hangs does not keep it
    assert time.monotonic() - begun < 10
    engine.start()
