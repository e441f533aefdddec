"""The conformance suite for runtime drivers.

Subclass :class:`RuntimeDriverTests`, name your class, and run pytest as root::

    from sampan.testing.runtime import RuntimeDriverTests

    class TestMine(RuntimeDriverTests):
        driver_class = Mine

A driver that needs more than a ``Host`` and default options overrides the fixture ``driver`` instead. The suite makes
a small root file system of the host's busybox and starts containers as the engine does: through a launcher and
monitors, with the order that the driver gave. What a driver's ``features()`` say it cannot do is skipped. After each
test the suite looks for what was left: mounts, cgroups with the instance in their names, processes.
"""

from __future__ import annotations

from sampan.testing.runtime.ahead import AheadTests
from sampan.testing.runtime.containers import Containers, Outcome, Running
from sampan.testing.runtime.control import ControlTests
from sampan.testing.runtime.crashes import CrashTests
from sampan.testing.runtime.executing import ExecTests
from sampan.testing.runtime.files_only import FilesOnlyTests
from sampan.testing.runtime.hostile import HostileRootTests
from sampan.testing.runtime.isolation import IsolationTests
from sampan.testing.runtime.limits import LimitTests
from sampan.testing.runtime.mounting import MountTests
from sampan.testing.runtime.privileges import PrivilegeTests
from sampan.testing.runtime.remapping import RemappingTests
from sampan.testing.runtime.spec import command
from sampan.testing.runtime.starting import StartTests
from sampan.testing.runtime.streams import StreamTests
from sampan.testing.runtime.terminals import TerminalTests

__all__ = ["Containers", "Outcome", "Running", "RuntimeDriverTests", "command"]


class RuntimeDriverTests(
    StartTests,
    AheadTests,
    StreamTests,
    TerminalTests,
    IsolationTests,
    MountTests,
    PrivilegeTests,
    RemappingTests,
    HostileRootTests,
    LimitTests,
    ControlTests,
    ExecTests,
    CrashTests,
    FilesOnlyTests,
):
    """Every promise of :class:`sampan.drivers.RuntimeDriver`, as tests."""
