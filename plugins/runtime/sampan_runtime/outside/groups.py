"""The cgroups of containers that a program from elsewhere makes: our names, its doing."""

from __future__ import annotations

import contextlib
import os

from sampan.drivers.errors import SampanError
from sampan.linux import cgroups
from sampan_runtime.control import changing
from sampan_runtime.control.groups import Groups

_FILES = {
    ("memory", "limit"): ("memory", "memory.limit_in_bytes", "memory.max"),
    ("memory", "swap"): ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("memory", "reservation"): ("memory", "memory.soft_limit_in_bytes", "memory.low"),
    ("memory", "swappiness"): ("memory", "memory.swappiness", ""),
    ("memory", "disableOOMKiller"): ("memory", "memory.oom_control", ""),
    ("cpu", "shares"): ("cpu", "cpu.shares", "cpu.weight"),
    ("cpu", "quota"): ("cpu", "cpu.cfs_quota_us", "cpu.max"),
    ("cpu", "period"): ("cpu", "cpu.cfs_period_us", "cpu.max"),
    ("cpu", "realtimePeriod"): ("cpu", "cpu.rt_period_us", ""),
    ("cpu", "realtimeRuntime"): ("cpu", "cpu.rt_runtime_us", ""),
    ("cpu", "cpus"): ("cpuset", "cpuset.cpus", "cpuset.cpus"),
    ("cpu", "mems"): ("cpuset", "cpuset.mems", "cpuset.mems"),
    ("pids", "limit"): ("pids", "pids.max", "pids.max"),
    ("blockIO", "weight"): ("blkio", "blkio.weight", "io.weight"),
    ("blockIO", "weightDevice"): ("blkio", "blkio.weight_device", "io.weight"),
}
"""OCI's limits, each with its controller and the files by which version 1 and version 2 of cgroups know it."""


class OutsideGroups(Groups):
    """``sampan-INSTANCE-KIND/ID``, at the same path in every hierarchy."""

    def settle(self, container: str, path: str) -> None:
        if path and not path.startswith("/"):  # from the daemon's own group, which may differ between hierarchies
            own = cgroups.own(self._found)
            path = f"{own.get(self._found.get('memory', ''), '/').rstrip('/')}/{path}"
        super().settle(container, path)

    def path(self, container: str) -> str:
        """The container's group as OCI's ``cgroupsPath``."""
        place = next(iter([*self.places, *([self.unified] if self.unified else [])]))
        return self._in(place, container)[len(place) :]

    def offers(self, part: str, key: str) -> bool:
        """Does this host have what OCI's ``linux.resources`` calls ``part.key``?"""
        controller, name, name_2 = _FILES.get((part, key), ("", "", ""))
        if not controller:
            return part != "blockIO" or self.has("blkio") or "io" in self._controllers_2
        if self.has(controller):
            return os.access(f"{self._found[controller]}/{_of_root(name)}", os.F_OK)
        controller = {"blkio": "io"}.get(controller, controller)
        return bool(name_2) and controller in self._controllers_2 and self._offers_2(name_2)

    def kill(self, container: str) -> None:
        """Everything in it, without removing anything."""
        self._kill(container, self.directories(container))

    def values(self, writes: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """What stands now in the files that are to be written."""
        found = []
        for path, _ in writes:
            with contextlib.suppress(OSError):
                found.append((path, cgroups.read(path).strip()))
        return found

    def put_back(self, values: list[tuple[str, str]]) -> None:
        with contextlib.suppress(SampanError):
            changing.change([(path, value or "\n") for path, value in values])


def _of_root(name: str) -> str:
    """Version 1's root groups have all files but these, which are then there in every group below."""
    return {"cpu.cfs_quota_us": "", "cpu.cfs_period_us": "", "pids.max": ""}.get(name, name)
