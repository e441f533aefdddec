"""Which runtime the tests' engines have: ``pytest --runtime NAME``. What it cannot do is skipped, with its own reason.

A test that needs a feature says so: ``@pytest.mark.needs("pause", "tty")``. The names are those of
:class:`sampan.drivers.types.RuntimeFeatures`; ``ready``, which the contract leaves to a monitor's half; and
``own_init``, a process of ours that becomes the container's init, for runtimes that ``drive`` no other program.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points
from pathlib import Path

from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Host

_choice = ["native"]


def choose(name: str) -> None:
    """For this run of the tests."""
    _choice[0] = name


def chosen() -> str:
    return _choice[0]


@functools.cache
def driver(name: str) -> RuntimeDriver:
    """The runtime driver of that name, with default options, to ask it about this machine and itself."""
    [entry] = entry_points(group="sampan.runtime", name=name)
    kind: type[RuntimeDriver] = entry.load()
    nowhere = Path("/nonexistent")
    return kind(Host(instance="0" * 8, data_root=nowhere / "data", exec_root=nowhere / name), kind.Options())


def reason_against(feature: str) -> str:
    """Why the chosen runtime has no such feature; ``""`` if it has it."""
    features = driver(chosen()).features()
    if feature == "ready":
        makes = hasattr(importlib.import_module(driver(chosen()).monitor_module), "ready")
        return "" if makes else f"the runtime {chosen()} makes nothing ahead: its half in the monitor has no ready()"
    if feature == "own_init":
        return features.drives and f"until its execve, a container's init is {features.drives}'s and no process of ours"
    if getattr(features, feature):
        return ""
    return features.why.get(feature, f"the runtime {chosen()} has no {feature}")
