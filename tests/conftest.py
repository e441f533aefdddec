"""What all tests share: the ``root`` and ``needs`` markers, the runtime that is tried, and engines."""

from __future__ import annotations

import compileall
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from harness import Engine, runtimes

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "core", *sorted((ROOT / "plugins").iterdir()), ROOT / "tests"]
FILES = 4096
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def pytest_addoption(parser: pytest.Parser) -> None:
    names = sorted(entry.name for entry in entry_points(group="sampan.runtime"))
    parser.addoption("--runtime", default="native", choices=names, help="the runtime driver of the tests' engines")


def pytest_configure(config: pytest.Config) -> None:
    runtimes.choose(config.getoption("--runtime"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < FILES:  # a shell's 1024 are little for hundreds of engines
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard) if hard >= 0 else FILES, hard))
    if config.pluginmanager.hasplugin("xdist"):
        from harness import shifts

        config.pluginmanager.register(shifts)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Engines find their code compiled; they do not compile it themselves (see ``harness.engine``)."""
    if not hasattr(session.config, "workerinput"):
        for source in SOURCES:
            compileall.compile_dir(source, quiet=2)


def pytest_report_header() -> str:
    return f"runtime of the engines: {runtimes.chosen()}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need what this machine lacks are skipped with the reason; in continuous integration they fail.

    What the chosen runtime cannot do, and says so, is skipped anywhere.
    """
    if item.get_closest_marker("root") and os.geteuid() != 0:
        lacking("this test needs root")
    for mark in item.iter_markers("needs"):
        for reason in filter(None, map(runtimes.reason_against, mark.args)):
            pytest.skip(reason)


def lacking(reason: str) -> None:
    if IN_CI:
        pytest.fail(f"{reason}, and CI is set", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker_cli() -> str:
    """The path of the real docker CLI."""
    path = shutil.which("docker")
    if path is None:
        lacking("there is no docker CLI on this machine")
    return str(path)


@pytest.fixture
def many_files() -> int:
    """How many a process may have open here at most; this one may have thousands."""
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < FILES:
        lacking(f"this test needs more than the {most} files that may be open here")
    return hard


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine that the tests of one module share; mark them ``root``."""
    with Engine() as running:
        yield running


@pytest.fixture
def new_engine() -> Iterator[Callable[..., Engine]]:
    """``new_engine(**settings)`` starts an engine of the test's own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Engine(**settings))


@pytest.fixture
def nothing_left(engine: Engine) -> Iterator[None]:
    """Proves that the test left mounts, links, namespaces, cgroups, rules, files and processes as they were."""
    engine.image()
    before: Any = engine.leftovers()
    yield
    engine.assert_as_before(before)
