"""What the kernel begins early changes nothing for who asks for it."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.linux import cgroups, namespaces
from sampan_runtime.outside import early


def in_a_child(act: Callable[[], object]) -> None:
    child = os.fork()
    if not child:
        try:
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def threads() -> list[str]:
    return os.listdir("/proc/self/task")  # noqa: PTH208


def test_where_there_is_no_hierarchy_nothing_is_begun() -> None:
    def act() -> None:
        early.expect_moves({})
        early.expect_moves({"name=nowhere": "/nowhere"})
        assert len(threads()) == 1

    in_a_child(act)


@pytest.mark.root
def test_it_stays_in_its_groups_and_can_do_what_it_could() -> None:
    def act() -> None:
        found = cgroups.hierarchies()
        before, group = cgroups.own(found), Path("/proc/self/cgroup").read_text()
        if not any(os.access(f"{place}{path}/cgroup.procs", os.W_OK) for place, path in before.items()):
            return  # nothing of it is in sight here
        early.expect_moves(found)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        deadline = time.monotonic() + 20
        while not any(Path(f"/proc/self/task/{each}/wchan").read_text().startswith("futex") for each in threads()):
            assert time.monotonic() < deadline, "it is still in the kernel"
            time.sleep(0.005)
        assert len(threads()) == 2
        assert Path("/proc/self/cgroup").read_text() == group
        assert os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]) == 0

    in_a_child(act)
