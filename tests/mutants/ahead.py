"""The monitor's half of runtime drivers that are wrong about what they make ahead: a group, a process that waits."""

from __future__ import annotations

import os
from typing import Any

from mutants.monitor import ended, exec, finish, prepare
from sampan.linux import cgroups, process

__all__ = ["ended", "exec", "finish", "prepare", "ready", "start", "warm"]


class Made:
    def __init__(self, usual: dict[str, Any], slot: str) -> None:
        self._fault = usual["fault"]
        self._group = f"{usual['group']}/{slot}"
        if self._fault != "leaves clearing up to others":
            cgroups.remove(self._group)
        os.makedirs(os.path.dirname(self._group), exist_ok=True)  # noqa: PTH103, PTH120
        os.mkdir(self._group)  # noqa: PTH102
        waits, self._told = os.pipe()
        self.pid = os.fork() if self._fault == "keeps it to itself" else process.clone(0)
        if self.pid == 0:
            os.close(self._told)
            os.read(waits, 1)
            os._exit(0)
        os.close(waits)

    def close(self) -> None:
        os.close(self._told)
        if self._fault != "gives nothing up":
            cgroups.remove(self._group)
            os.rmdir(os.path.dirname(self._group))  # noqa: PTH106, PTH120


def ready(usual: dict[str, Any], slot: str) -> Made:
    return Made(usual, slot)


def warm() -> None:
    os.environ["WARM"] = os.environ.get("WARM", "") + "!"


def start(order: dict[str, Any], root: int, stdio: tuple[int, int, int], made: Made, kept: int) -> tuple[int, int]:
    raise NotImplementedError
