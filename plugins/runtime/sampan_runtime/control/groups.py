"""Which cgroups a container of the native runtime has, and what is done through them."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sampan.drivers.errors import NotFound, Unavailable
from sampan.linux import bpf, cgroups
from sampan_runtime.control import changing, devices, limits
from sampan_runtime.control.homes import Homes, resolve

_FREEZE_PATIENCE = 10.0  # seconds


class Groups:
    """The groups ``sampan-INSTANCE/ID`` in every hierarchy of this host, or where the spec's ``cgroupsPath`` wants
    them. Thread-safe: it holds only names. ``memory`` is a directory for those that are elsewhere.

    Each runtime has its own parent group: ``kind`` is the end of its name. ``found`` are the hierarchies to be used.
    Groups there whose names begin with ``nobodys`` are no container's."""

    def __init__(
        self,
        instance: str,
        memory: Path,
        kind: str = "",
        found: Mapping[str, str] | None = None,
        *,
        nobodys: str = "",
    ) -> None:
        self._parent = f"sampan-{instance}" + (f"-{kind}" if kind else "")
        self._nobodys = nobodys
        self._homes = Homes(memory)
        self._found = cgroups.hierarchies() if found is None else dict(found)
        self._probing = threading.Lock()
        self._counting = threading.Lock()
        self._wanted: set[str] = set()  # containers that may be making groups, or have them
        self.places = sorted({place for name, place in self._found.items() if name != cgroups.V2})
        self.unified = self._found.get(cgroups.V2)
        if {"devices", "freezer"} <= self._found.keys() and not self._controllers_2:
            # The usual hybrid: version 2 is there for systemd, and has nothing that version 1 has not. To be born in
            # one of its groups, or to join one, would only cost time.
            self.unified = None

    @property
    def controls_devices(self) -> bool:
        """Is there something here that makes device rules hold: version 1's controller, or a program in version 2?"""
        return "devices" in self._found or self._takes_programs

    @cached_property
    def _takes_programs(self) -> bool:
        try:
            os.close(bpf.load_device_program(devices.program([])))
        except OSError:
            return False
        return self.unified is not None

    def settle(self, container: str, path: str) -> None:
        """The container's groups are to be at OCI's ``cgroupsPath``; ``""`` is our own place for them. Until they are
        removed, the group above them stays: other programs than ours make that and then fail to find it."""
        with self._counting:
            self._wanted.add(container)
        if path:
            unified = self.unified if self._controllers_2 else None
            self._homes.keep(container, resolve(path, set(self._found.values()), cgroups.own(self._found), unified))
        else:
            self._homes.forget(container)

    def order(self, container: str, resources: Mapping[str, Any]) -> dict[str, Any]:
        """What the monitor's half makes, joins and removes."""
        directories = self.directories(container)
        v2 = self._in(self.unified, container) if self.unified else ""
        return {
            "cgroups": directories,
            "tasks": [f"{each}/tasks" for each in directories if each != v2],
            "v2": v2,
            "v2_root": self.unified if self._controllers_2 else "",
            "limits": self.writes(container, resources),
            "device_program": self._device_program(resources),
            "oom": self._oom_file(container),
        }

    def writes(self, container: str, resources: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Control files and their new values; what this host has no controller or file for is left out."""
        found = [
            (path, value or _of_parent(path))
            for controller, name, value in limits.version_1(resources)
            if controller in self._found and self._offers(controller, name)
            for path in [f"{self._in(self._found[controller], container)}/{name}"]
        ]
        if self._controllers_2:
            found += [
                (f"{self._in(self.unified or '', container)}/{name}", value or "\n")
                for controller, name, value in limits.version_2(resources)
                if controller in self._controllers_2 and self._offers_2(name)
            ]
        return found

    @cached_property
    def _controllers_2(self) -> frozenset[str]:
        """What version 2 limits here: what it has, unless version 1 has it."""
        if not self.unified:
            return frozenset()
        return limits.CONTROLLERS_2 & frozenset(cgroups.read(f"{self.unified}/cgroup.controllers").split())

    def _device_program(self, resources: Mapping[str, Any]) -> bytes:
        """What judges the use of devices where version 1's controller does not; empty if nothing has to."""
        rules = resources.get("devices") or ()
        return devices.program(rules) if rules and "devices" not in self._found and self._takes_programs else b""

    def _offers(self, controller: str, name: str) -> bool:
        """Kernels are built without swap accounting or weights; the root of a hierarchy tells."""
        return os.access(f"{self._found[controller]}/{limits.OPTIONAL.get(name, '')}", os.F_OK)

    def _offers_2(self, name: str) -> bool:
        return name not in limits.OPTIONAL_2 or name in self._files_2

    @cached_property
    def _files_2(self) -> frozenset[str]:
        """The control files that a version 2 group has here. The root has few of them: a group is made to see."""
        root = self.unified or ""
        probe = f"{root}/{self._parent}-probe"
        with self._probing:
            cgroups.make(probe)
            try:
                cgroups.delegate(root, root)
                return frozenset(os.listdir(probe))  # noqa: PTH208 - names
            finally:
                cgroups.remove(probe)

    def directories(self, container: str) -> list[str]:
        places = [*self.places, *([self.unified] if self.unified else [])]
        return [self._in(place, container) for place in places]

    def known(self) -> set[str]:
        """The ids of all containers of this instance that have a group anywhere."""
        found = self._homes.known()
        for parent in self.parents:
            with contextlib.suppress(FileNotFoundError), os.scandir(parent) as entries:
                found.update(entry.name for entry in entries if entry.is_dir())
        return {name for name in found if not (self._nobodys and name.startswith(self._nobodys))}

    def processes(self, container: str) -> list[int]:
        return cgroups.processes(self.directories(container)[-1])

    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        """Change limits: all or none of them."""
        changing.change(self.writes(container, resources))

    def freeze(self, container: str, frozen: bool) -> None:
        """Freeze or thaw, and wait until it is so (cgroup-v1/freezer-subsystem.rst; cgroup-v2.rst, cgroup.freeze).
        ``NotFound`` if it has ended; thawing such a one is no work."""
        try:
            self._freeze(container, frozen)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # the second: it went while its file was open
                raise
            if frozen:
                raise NotFound(f"container {container[:12]} is not running") from None

    def _freeze(self, container: str, frozen: bool) -> None:
        state = self._freezer(container)
        if "freezer" in self._found:
            path, value = state, ("FROZEN" if frozen else "THAWED")
            done = value
        else:
            path, value = state.replace("cgroup.events", "cgroup.freeze"), str(int(frozen))
            done = f"frozen {value}"
        until = time.monotonic() + _FREEZE_PATIENCE
        cgroups.write(path, value)
        while done not in cgroups.read(state):
            if time.monotonic() > until:
                end = "frozen" if frozen else "thawed: perhaps a group above its own is frozen"
                raise Unavailable(f"container {container[:12]} could not within {_FREEZE_PATIENCE:.0f} s be {end}")
            time.sleep(0.001)
            if "freezer" in self._found:
                cgroups.write(path, value)  # a process that forked meanwhile holds version 1 up until told again

    def frozen(self, container: str) -> bool:
        """Is it, or is it about to be, by whatever hand, in its own group or one above?"""
        try:
            told = cgroups.read(self._freezer(container))
        except OSError:  # it has ended
            return False
        return "FREEZING" in told or "FROZEN" in told or "frozen 1" in told

    def _freezer(self, container: str) -> str:
        """The file that says whether it is frozen."""
        if "freezer" in self._found:
            return f"{self._in(self._found['freezer'], container)}/freezer.state"
        return f"{self._in(self.unified or '', container)}/cgroup.events"

    def remove(self, container: str) -> None:
        """Kill all that is left and remove the groups. Idempotent."""
        directories = self.directories(container)
        self._kill(container, directories)
        for directory in directories:
            cgroups.remove(directory)
        self._homes.forget(container)
        with self._counting:
            self._wanted.discard(container)
            if not self._wanted:
                self._remove_parents_if_empty()

    @property
    def parents(self) -> list[str]:
        return [f"{place}/{self._parent}" for place in [*self.places, *([self.unified] if self.unified else [])]]

    def remove_others(self, running: Collection[str]) -> None:
        with self._counting:  # those that ended by themselves meanwhile had their groups removed by their monitors
            self._wanted = set(running)
        for container in self.known() - set(running):
            self.remove(container)
        with self._counting:
            if not self._wanted:
                self._remove_parents_if_empty()

    def file(self, controller: str, container: str, name: str) -> str:
        """A control file of the controller, wherever this host has it; ``""`` if it has none."""
        place = self._found.get(controller) or self.unified
        return f"{self._in(place, container)}/{name}" if place else ""

    def has(self, controller: str) -> bool:
        """Is the controller a version 1 hierarchy here?"""
        return controller in self._found

    def _kill(self, container: str, directories: list[str]) -> None:
        with contextlib.suppress(OSError):
            self.freeze(container, False)  # frozen processes cannot die
        for directory in directories:
            for pid in cgroups.processes(directory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)

    def _remove_parents_if_empty(self) -> None:
        for parent in self.parents:
            with contextlib.suppress(OSError):
                os.rmdir(parent)  # noqa: PTH106

    def _oom_file(self, container: str) -> str:
        if "memory" in self._found:
            return self.file("memory", container, "memory.oom_control")
        return self.file("memory", container, "memory.events")

    def _in(self, place: str, container: str) -> str:
        home = self._homes.get(container)
        return home[place] if home and place in home else f"{place}/{self._parent}/{container}"


def _of_parent(path: str) -> str:
    """What version 1's lists of processors and nodes have to be if nothing is wanted: they may not be empty."""
    group, name = os.path.split(path)
    return cgroups.read(f"{os.path.dirname(group)}/{name}").strip()  # noqa: PTH120
