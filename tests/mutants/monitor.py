"""The monitor's half of wrong runtime drivers: the native one's, with the fault that the order names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import sampan
from sampan.errors import StartFailed
from sampan.linux import cgroups

sys.path.append(str(Path(sampan.__file__).parents[2] / "plugins/runtime"))  # the launcher knows our directory alone

from sampan_runtime.native import monitor

prepare = monitor.prepare


def start(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[int, int]:
    fault = order["fault"]
    if fault == "merges error into output":
        stdio = (stdio[0], stdio[1], stdio[1])
    elif fault == "has no input":
        stdio = (os.open(os.devnull, os.O_RDONLY), *stdio[1:])
    elif fault == "makes mount points by path":
        for _, target, *_ in order["mounts"]:
            os.makedirs(f"/proc/self/fd/{root}{os.fsdecode(target)}", exist_ok=True)  # noqa: PTH103
    elif fault == "lends its environment":
        order["env"].update({os.fsencode(f"SAMPAN_{each}"): b"1" for each in ("ROOT", "KEY")})
    try:
        pid, terminal = monitor.start(order, root, stdio)
    except StartFailed as failure:
        _fail(order, failure)
        raise
    if fault == "loses its terminal":
        os.close(terminal)
        terminal = os.open(os.devnull, os.O_RDWR)
    return (pid + 1 if fault == "tells the wrong pid" else pid), terminal


def _fail(order: dict[str, Any], failure: StartFailed) -> None:
    fault = order["fault"]
    if fault == "knows one code":
        raise StartFailed(failure.message, 1) from None
    if fault == "does not say why":
        raise StartFailed("it could not be started", failure.exit_code) from None
    if fault == "says too much":
        raise StartFailed(f"{failure.message}\nTraceback:\n", failure.exit_code) from None
    if fault == "leaves groups behind":
        for directory in order["cgroups"]:
            cgroups.make(directory)


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int]:
    if order["fault"] == "knows one code":
        try:
            return monitor.exec(order, stdio)
        except StartFailed as failure:
            raise StartFailed(failure.message, 1) from None
    return monitor.exec(order, stdio)


def ended(order: dict[str, Any]) -> bool:
    if order["fault"] == "never starves":
        return False
    return True if order["fault"] == "always starves" else monitor.ended(order)


def finish(order: dict[str, Any]) -> None:
    if order["fault"] == "leaves cleaning to others":
        return
    if order["fault"] == "misses what is gone":
        for group in order["cgroups"]:
            os.rmdir(group)  # noqa: PTH106
        return
    monitor.finish(order)
