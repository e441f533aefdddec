"""What the monitor's half makes before there is an order: ``ready``, and ``warm``, which makes nothing.

Both are called as they are in a starter: in a process whose parent, a stand-in for the monitor, reaps what it gets.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Host
from sampan.linux import mounts, namespaces, process
from sampan.testing.runtime import containers
from sampan.testing.runtime.base import Base
from sampan.testing.runtime.spec import command

_SLOT = "kit"
_NOTHING = 77
"""The exit code of a starter in which nothing was made."""


class AheadTests(Base):
    @pytest.fixture
    def half(self, driver: RuntimeDriver, usable: None) -> ModuleType:
        """The monitor's half."""
        return importlib.import_module(driver.monitor_module)

    def test_what_is_made_ahead_is_the_monitors_child_and_goes_when_it_is_given_up(
        self, driver: RuntimeDriver, host: Host, half: ModuleType
    ) -> None:
        usual = _usual(driver, half)

        def starter() -> None:
            made = _make(half, usual)
            assert process.parent(made.pid) == os.getppid(), "what was made ahead is not the monitor's child"
            made.close()

        _run(half, starter)
        _assert_nothing_left(host)

    def test_what_a_killed_starter_made_ahead_is_removed_by_the_next_of_its_slot(
        self, driver: RuntimeDriver, host: Host, half: ModuleType
    ) -> None:
        usual = _usual(driver, half)

        def killed() -> None:
            _make(half, usual)
            os.kill(os.getpid(), signal.SIGKILL)

        _run(half, killed, -signal.SIGKILL)
        _run(half, lambda: _make(half, usual).close())
        _assert_nothing_left(host)

    def test_warming_up_changes_nothing(self, host: Host, half: ModuleType) -> None:
        if not hasattr(half, "warm"):
            pytest.skip("this runtime does not warm up")

        def starter() -> None:
            half.warm()  # the first time, what is imported late is imported
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)  # others mount things meanwhile
            before = _surroundings()
            half.warm()
            after = _surroundings()
            before["mounts"] = _still_there(before["mounts"], after["mounts"])
            changed = {name: (before[name], after[name]) for name in after if after[name] != before[name]}
            assert not changed, f"before and after: {changed}"

        _run(half, starter)
        _assert_nothing_left(host)


def _usual(driver: RuntimeDriver, half: ModuleType) -> Any:
    if not hasattr(half, "ready"):
        pytest.skip("this runtime makes nothing ahead")
    return driver.usual(command())


def _make(half: ModuleType, usual: Any) -> Any:
    made = half.ready(usual, _SLOT)
    if made is None:
        os._exit(_NOTHING)
    return made


def _run(half: ModuleType, starter: Callable[[], None], expected: int = 0) -> None:
    """``starter`` in a starter, until that and all that it has made have ended."""
    read, write = os.pipe()
    monitor = os.fork()
    if not monitor:
        _as_monitor(half, starter, write)
    os.close(write)
    with open(read, encoding="utf-8") as news:  # noqa: PTH123 - a descriptor
        why, _, told = news.read().rpartition("\n")
    ended = os.waitstatus_to_exitcode(os.waitpid(monitor, 0)[1])
    if told == str(_NOTHING):
        pytest.skip("this runtime makes nothing ahead on this machine")
    assert told == str(expected), why or "the starter did not end as it should have"
    assert ended == 0, f"what it has made lives on after {containers.PATIENCE:.0f} s"


def _as_monitor(half: ModuleType, starter: Callable[[], None], told: int) -> None:
    try:
        os.setsid()
        signal.setitimer(signal.ITIMER_REAL, containers.PATIENCE)  # what hangs ends it, and is told by that
        if getattr(half, "SUBREAPER", False):
            process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        half.prepare()
        first = os.fork()
        if not first:
            _as_starter(starter, told)
        while True:
            pid, status = os.wait()
            if pid == first:
                os.write(told, b"%d" % os.waitstatus_to_exitcode(status))
    except ChildProcessError:
        os._exit(0)
    finally:
        os._exit(1)


def _as_starter(starter: Callable[[], None], told: int) -> None:
    try:
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        starter()
        os._exit(0)
    except BaseException as error:
        traceback.print_exc()
        said = " ".join(str(error).split()) if isinstance(error, AssertionError) else repr(error)
        os.write(told, f"{said}\n".encode())
    finally:
        os._exit(1)


def _surroundings() -> dict[str, Any]:
    """Of the calling process: what it could change by the way."""
    own = Path("/proc/self")
    links = {name: os.readlink(own / "ns" / name) for name in os.listdir(own / "ns")}  # noqa: PTH115, PTH208
    children = {each: (own / "task" / each / "children").read_text() for each in os.listdir(own / "task")}  # noqa: PTH208
    mask = os.umask(0)
    os.umask(mask)
    return {
        "mounts": (own / "mountinfo").read_text().splitlines(),
        "group": (own / "cgroup").read_text(),
        "namespaces": links,
        "children": children,
        "descriptors": _descriptors(),
        "directory": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "mask": mask,
    }


def _still_there(before: list[str], after: list[str]) -> list[str]:
    """Without those whose place is gone: whoever removes a mount point in another namespace unmounts it in all
    (mount_namespaces(7), "Restrictions on mount namespaces")."""
    return [each for each in before if each in after or os.path.lexists(each.split()[4])]


def _descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found[name] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    return found


def _assert_nothing_left(host: Host) -> None:
    def left() -> list[str]:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return containers.groups(host.instance) + [
            each for each in mounts if each.startswith(f"{host.data_root.parent}/")
        ]

    containers.until(lambda: not left(), lambda: f"left behind: {left()}")
