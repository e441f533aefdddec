"""The ``native`` runtime driver, the daemon's half: namespaces, cgroups and all by Python's own kernel calls."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sampan.drivers.types import Bundle, Check, ExecProcess, Order, RuntimeFeatures
from sampan.linux import capabilities, namespaces, process
from sampan_runtime.control.grouped import Grouped, gone, signal_one_of
from sampan_runtime.control.groups import Groups
from sampan_runtime.filters import Filters
from sampan_runtime.native import order as orders
from sampan_runtime.native import rootfs
from sampan_runtime.native.standby import PREFIX, remove_left

_NEEDED = ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "MKNOD")


class Native(Grouped):
    monitor_module = "sampan_runtime.native.monitor"

    @cached_property
    def _groups(self) -> Groups:
        return Groups(self.host.instance, self.host.exec_root / "cgroups", nobodys=PREFIX)

    @cached_property
    def _filters(self) -> Filters:
        return Filters(self.host.exec_root / "seccomp")

    @cached_property
    def _hierarchies(self) -> list[tuple[str, str, str]]:
        return rootfs.hierarchies()

    def check(self) -> Check:
        missing = [name for name in _NEEDED if not capabilities.permitted() >> capabilities.NAMES.index(name) & 1]
        if missing:
            return Check(False, f"it needs root: this process lacks CAP_{', CAP_'.join(missing)}")
        absent = [name for name, file in namespaces.FILES.items() if not os.access(f"/proc/self/ns/{file}", os.F_OK)]
        absent = [name for name in absent if name not in ("user", "time")]
        if absent:
            return Check(False, f"this kernel has no {', '.join(absent)} namespaces")
        if not self._groups.places and not self._groups.unified:
            return Check(False, "no cgroups are mounted under /sys/fs/cgroup (mount -t cgroup2 none /sys/fs/cgroup)")
        return Check(True)

    def features(self) -> RuntimeFeatures:
        if os.access("/proc/self/ns/user", os.F_OK):
            return RuntimeFeatures(init=True, user_namespaces=True)
        return RuntimeFeatures(init=True, why={"user_namespaces": "this kernel has none (CONFIG_USER_NS)"})

    def order(self, bundle: Bundle) -> Order:
        spec = bundle.spec
        linux = spec.get("linux") or {}
        made = orders.from_spec(spec, bundle.path / "rootfs", self._program(linux))
        made["hierarchies"] = self._hierarchies
        self._groups.settle(bundle.id, linux.get("cgroupsPath") or "")
        made.update(self._groups.order(bundle.id, linux.get("resources") or {}))
        if not self._groups.controls_devices:
            self._forbid_device_nodes(made)
        return made

    def usual(self, spec: Mapping[str, Any]) -> Order:
        for parent in self._groups.parents:
            remove_left(parent)
        made = orders.from_spec(spec, Path("/"), None)
        made["hierarchies"] = self._hierarchies
        made.update(self._groups.order("usual", (spec.get("linux") or {}).get("resources") or {}))
        return made

    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        linux = spec.get("linux") or {}
        started = process.start_time(pid)
        if started is None:
            raise gone(process_.container)
        made = {**orders.process(process_.process, self._program(linux)), **orders.mappings(linux)}
        flags = [each["type"] for each in linux.get("namespaces") or ()]
        made["flags"] = sum(namespaces.FLAGS[name] for name in set(flags))
        made["pid"], made["start_time"] = pid, started
        made.update(self._groups.order(process_.container, {}))
        if not self._groups.controls_devices:
            self._forbid_device_nodes(made)
        return made

    def signal(self, container: str, pid: int, signal: int) -> None:
        if not signal_one_of(self._groups, container, pid, signal):
            raise gone(container)

    def pause(self, container: str) -> None:
        self._groups.freeze(container, True)

    def resume(self, container: str) -> None:
        self._groups.freeze(container, False)

    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        self._groups.update(container, resources)

    def remove(self, container: str) -> None:
        self._groups.remove(container)

    def restore(self, running: Collection[str]) -> None:
        self._groups.remove_others(running)

    def _program(self, linux: Mapping[str, Any]) -> bytes | None:
        return self._filters.program(linux["seccomp"]) if linux.get("seccomp") else None

    def _forbid_device_nodes(self, made: dict[str, Any]) -> None:
        """Where neither a controller nor a BPF program makes device rules hold, nobody may make device nodes: one of
        the host's disk would be as good as the disk."""
        node = 1 << capabilities.NAMES.index("MKNOD")
        with contextlib.suppress(KeyError):
            made["capabilities"] = {name: mask & ~node for name, mask in made["capabilities"].items()}
