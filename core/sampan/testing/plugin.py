"""The pytest plugin of the conformance kit; pytest finds it by itself where sampan is installed.

It must cost nothing to those who do not use it, so it imports nothing of sampan before a fixture is asked for.

Fixtures:
    ``sampan_host``   what the engine would tell a driver: a fresh instance name and fresh roots
    ``sampan_root``   skips the test without root

A failure of one of the suites' tests is told as the promise that was not kept, in a sentence beside the traceback and
again at the end.

Options:
    ``--sampan-driver NAME``     run only the suites whose ``driver_name`` is NAME (may be repeated)
    ``--sampan-data-root DIR``   keep drivers' data under DIR, to try a driver on that file system

What a machine lacks is a reason to skip a test; with ``CI=true`` in the environment it is a failure.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from sampan.drivers.types import Host

pytest.register_assert_rewrite("sampan.testing")


_BROKEN = "sampan-promise"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sampan", "conformance of sampan's drivers")
    group.addoption("--sampan-driver", action="append", metavar="NAME", help="only the suites of the driver NAME")
    group.addoption("--sampan-data-root", metavar="DIR", help="keep the drivers' data under DIR")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--sampan-driver")
    if not chosen:
        return
    others = [item for item in items if (getattr(_class_of(item), "driver_name", "") or chosen[0]) not in chosen]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    family = getattr(_class_of(item), "family", "")
    if report.failed and family and call.excinfo:
        who = _name_of(item)
        broken = _sentence(item, report, call.excinfo.value)
        report.user_properties.append((_BROKEN, f"{family} driver {who}: {broken}"))
        told = getattr(report.longrepr, "addsection", None)
        if told:
            told("in a sentence", f"{family} driver {who} does not do what it promises: {broken}")
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
    broken = [text for report in reports for name, text in getattr(report, "user_properties", ()) if name == _BROKEN]
    if broken:
        terminalreporter.section("promises that were not kept")
        for text in dict.fromkeys(broken):
            terminalreporter.write_line(text)


def _name_of(item: pytest.Item) -> str:
    driver = getattr(item, "funcargs", {}).get("driver")
    return getattr(item.cls, "driver_name", "") or type(driver or item.cls).__name__  # type: ignore[attr-defined]


def _sentence(item: pytest.Item, report: pytest.TestReport, error: BaseException) -> str:
    """The promise, which is the test's name, and what was found instead."""
    promise = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
    if "[" in item.name:
        promise += f" ({item.name.partition('[')[2][:-1]})"
    when = {"call": "", "setup": "before it could be tried, ", "teardown": "afterwards, "}[report.when or "call"]
    return f"{promise}; but {when}{_complaint(error)}"


def _complaint(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if missed := re.match(r"DID NOT RAISE .*?(\w+)'>", text):
        return f"nothing was refused, where {missed[1]} was to be raised"
    if text.startswith("assert "):
        return f"it is not so that {text[7:]}"
    return text if isinstance(error, AssertionError) else f"there was {type(error).__name__}: {text}"


def _class_of(item: pytest.Item) -> type | None:
    cls = getattr(item, "cls", None)
    return cls if isinstance(cls, type) else None


def lacking(reason: str) -> NoReturn:
    """Skip the running test, or fail it where skipping would hide that nothing was tested."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(f"{reason}, and CI is set", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def sampan_root() -> None:
    if os.geteuid() != 0:
        lacking("this test needs root")


@pytest.fixture
def sampan_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A :class:`~sampan.drivers.types.Host` without roots yet; what a driver leaves is removed afterwards."""
    from sampan.drivers.types import Host
    from sampan.testing.sweeping import sweep

    base = Path(tempfile.mkdtemp(prefix="sampan-kit-", dir=request.config.getoption("--sampan-data-root")))
    host = Host(instance=secrets.token_hex(4), data_root=base / "data", exec_root=base / "exec")
    yield host
    sweep(base, host.instance)
