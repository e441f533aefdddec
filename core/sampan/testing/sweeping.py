"""What a driver left that it should have removed: a test has told of it by then, and the machine need not keep it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from sampan.linux import cgroups, mounts
from sampan.linux.trees import remove_tree


def sweep(base: Path, instance: str) -> None:
    """Remove the mounts at and below ``base``, its tree, and the control groups named after ``instance`` with all
    that runs in them.

    What cannot be removed stays: the test that runs has failed already, or has nothing to do with it.
    """
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        target = line.split()[4]
        if target == str(base) or target.startswith(f"{base}/"):
            with suppress(OSError):
                mounts.detach(target)
    for group in _groups(instance):
        with suppress(OSError):
            _thaw(group)
            for pid in cgroups.processes(group):
                os.kill(pid, signal.SIGKILL)
            cgroups.remove(group, patience=1.0)
    directory = os.open(base.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            remove_tree(directory, base.name)
    finally:
        os.close(directory)


def _thaw(group: str) -> None:
    """Frozen processes cannot die."""
    for directory, _, files in os.walk(group):
        for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if name in files:
                with suppress(OSError):
                    cgroups.write(f"{directory}/{name}", value)


def _groups(instance: str) -> list[str]:
    """The uppermost groups in each hierarchy that have the instance in their names."""
    found = []
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        named = [name for name in names if instance in name]
        found += [f"{directory}/{name}" for name in named]
        names[:] = [name for name in names if name not in named]
    return found
