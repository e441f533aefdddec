"""The pytest plugin of the conformance kit; pytest finds it by itself where sampan is installed.

It must cost nothing to those who do not use it, so it imports nothing of sampan before a fixture is asked for.

Fixtures:
    ``sampan_host``   what the engine would tell a driver: a fresh instance name and fresh roots
    ``sampan_root``   skips the test without root

Options:
    ``--sampan-driver NAME``     run only the suites whose ``driver_name`` is NAME (may be repeated)
    ``--sampan-data-root DIR``   keep drivers' data under DIR, to try a driver on that file system

What a machine lacks is a reason to skip a test; with ``CI=true`` in the environment it is a failure.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from sampan.drivers.types import Host

pytest.register_assert_rewrite("sampan.testing.storage", "sampan.testing.network", "sampan.testing.runtime")


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
    """A :class:`~sampan.drivers.types.Host` whose roots do not exist yet; what is under them is removed afterwards."""
    from sampan.drivers.types import Host

    base = Path(tempfile.mkdtemp(prefix="sampan-kit-", dir=request.config.getoption("--sampan-data-root")))
    yield Host(instance=secrets.token_hex(4), data_root=base / "data", exec_root=base / "exec")
    shutil.rmtree(base, ignore_errors=True)
