"""The ``lxc`` runtime driver, the daemon's half: the real LXC's commands, with a configuration beside each container.

``/run/…/lxc`` is an lxcpath: each container has a directory there, with ``config`` and what that names. ``lxc-start``
makes the container and stays its parent, ``lxc-attach`` enters it, ``lxc-freeze`` holds it; what only looks, counters
and processes, is read from its cgroups, which takes no process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal as signals
import subprocess
import time
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from sampan.drivers.errors import Unavailable, Unsupported
from sampan.drivers.types import Bundle, Check, ExecProcess, Order, RuntimeFeatures
from sampan.linux import capabilities, cgroups, process
from sampan_runtime import steps
from sampan_runtime.control.grouped import Grouped, gone
from sampan_runtime.lxc import config, text
from sampan_runtime.lxc.policy import policy
from sampan_runtime.outside import calls
from sampan_runtime.outside.groups import OutsideGroups

_NEEDED = ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "MKNOD")
_COMMANDS = ("lxc-start", "lxc-execute", "lxc-attach", "lxc-freeze", "lxc-unfreeze")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIVOT, _LEAF = "lxc.pivot", ".lxc"  # groups that LXC makes
_PIVOT_PATIENCE = 2.0  # seconds
_OLDEST = (5, 0)


class _Groups(OutsideGroups):
    """LXC makes its groups in version 2's hierarchy, too, where that has no controllers."""

    def __init__(self, instance: str, memory: Path, kind: str) -> None:
        super().__init__(instance, memory, kind)
        unified = self._found.get(cgroups.V2)
        if unified and not self.unified:
            self.places = sorted({*self.places, unified})

    def _remove_parents_if_empty(self) -> None:
        """An ``lxc-start`` that ends goes to the pivot last: it may be there still, or be dead and not reaped yet."""
        until = time.monotonic() + _PIVOT_PATIENCE
        for parent in self.parents:
            with contextlib.suppress(OSError):
                cgroups.remove(f"{parent}/{_PIVOT}", patience=max(0.0, until - time.monotonic()))
        super()._remove_parents_if_empty()

    @property
    def second(self) -> str:
        """Where version 2's hierarchy is; ``""`` if it is not mounted."""
        return self._found.get(cgroups.V2, "")

    @property
    def name(self) -> str:
        return self._parent


class Lxc(Grouped):
    monitor_module = "sampan_runtime.lxc.monitor"

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        """``directory`` of LXC's commands; by default they are searched for."""

        directory: str = ""

    @cached_property
    def _groups(self) -> _Groups:
        return _Groups(self.host.instance, self.host.exec_root / "cgroups", "lxc")

    @cached_property
    def _keepers(self) -> _Groups:
        """Where ``lxc-start`` itself is, which wants a group for each of its processes."""
        return _Groups(self.host.instance, self.host.exec_root / "keepers", "lxc-start")

    @property
    def _lxcpath(self) -> Path:
        return self.host.exec_root / "containers"

    def _command(self, name: str) -> str:
        return shutil.which(name, path=self.options.directory or _PATH) or ""  # type: ignore[attr-defined]

    @cached_property
    def _commands(self) -> dict[str, str]:
        return {name: self._command(name) for name in _COMMANDS}

    def check(self) -> Check:
        missing = [name for name in _NEEDED if not capabilities.permitted() & capabilities.mask([f"CAP_{name}"])]
        if missing:
            return Check(False, f"it needs root: this process lacks CAP_{', CAP_'.join(missing)}")
        absent = [name for name, path in self._commands.items() if not path]
        if absent:
            return Check(False, f"this machine has no {', '.join(absent)} (apt install lxc)")
        if os.uname().machine not in steps.MACHINES:
            return Check(False, f"it has no program for {os.uname().machine} processors, only for x86_64 and aarch64")
        version = self._version
        if version < _OLDEST:
            return Check(False, f"LXC {'.'.join(map(str, version))} is too old: it needs 5.0 or newer")
        first = cgroups.own(cgroups.hierarchies(), "/proc/1/cgroup")
        if any(path.removesuffix("/init.scope") not in ("", "/") for path in first.values()):
            return Check(False, "LXC makes its cgroups below those of process 1, which are not the root's here")
        return Check(True)

    @cached_property
    def _version(self) -> tuple[int, ...]:
        answer = subprocess.run([self._commands["lxc-start"], "--version"], capture_output=True, text=True, timeout=10)
        return tuple(int(part) for part in re.findall(r"\d+", answer.stdout)[:2])

    def features(self) -> RuntimeFeatures:
        why = {"user_namespaces": "the lxc runtime maps no user ids yet", "host_cgroups": config.NO_HOST_CGROUPS}
        drives = f"LXC {'.'.join(map(str, self._version))}" if self._commands["lxc-start"] else ""
        return RuntimeFeatures(init=True, host_cgroups=False, drives=drives, why=why)

    def order(self, bundle: Bundle) -> Order:
        spec = bundle.spec
        linux = spec.get("linux") or {}
        mounts = config.mounts(spec)
        if not any(target == b"/proc" and kind == "proc" for target, kind, _, _ in mounts):
            raise Unsupported("the lxc runtime needs /proc in its containers, to execute their commands")
        made = config.process(spec["process"])
        if not self._groups.controls_devices:
            _forbid_device_nodes(made)
        self._groups.settle(bundle.id, linux.get("cgroupsPath") or "")
        self._keepers.settle(bundle.id, "")
        early, late = config.sysctls(spec)
        directory = self._lxcpath / bundle.id
        seccomp = linux.get("seccomp")
        starts = [self._commands["lxc-execute"]] if config.has_init(spec) else [self._commands["lxc-start"], "-F"]
        return {
            **made,
            **self._common(bundle.id),
            "start": starts,
            "init": config.has_init(spec),
            "powerful": config.powerful(made),
            "lines": [
                *config.head(bundle.id, str(self._lxcpath)),
                text.line("lxc.rootfs.path", f"dir:{directory}/rootfs"),
                *([text.line("lxc.rootfs.options", "ro")] if (spec.get("root") or {}).get("readonly") else []),
                *config.lines(spec, made, f"{directory}/seccomp" if seccomp else ""),
                *self._cgroup_lines(bundle.id, linux.get("resources") or {}),
            ],
            "policy": policy(seccomp) if seccomp else "",
            "read_only": bool((spec.get("root") or {}).get("readonly")),
            "mounts": mounts,
            "devices": config.device_nodes(linux),
            "masked": [os.fsencode(path) for path in linux.get("maskedPaths") or ()],
            "read_only_paths": [os.fsencode(path) for path in linux.get("readonlyPaths") or ()],
            "hierarchies": self._hierarchies(bundle.id, linux),
            "unified": not self._groups.places,
            "early": early,
            "late": late,
            "network": config.network(spec),
            "cgroups": self._groups.directories(bundle.id),
            "keepers": self._keepers.directories(bundle.id),
        }

    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        started = process.start_time(pid)
        if started is None:
            raise gone(process_.container)
        made = config.process(process_.process)
        if not self._groups.controls_devices:
            _forbid_device_nodes(made)
        attach = [self._commands["lxc-attach"]]
        made.update(self._common(process_.container))
        return {**made, "attach": attach, "leaf": self._leaf(process_.container), "pid": pid, "start_time": started}

    def signal(self, container: str, pid: int, signal: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise gone(container) from None
        try:
            # The pid may belong to another process by now; the descriptor stays with the one that it was opened for.
            if pid not in self._groups.processes(container):
                raise gone(container)
            signals.pidfd_send_signal(fd, signal)
        except ProcessLookupError:
            raise gone(container) from None
        finally:
            os.close(fd)

    def pause(self, container: str) -> None:
        self._freeze(container, "lxc-freeze", True)

    def resume(self, container: str) -> None:
        self._freeze(container, "lxc-unfreeze", False)

    def frozen(self, container: str) -> bool:
        """Somebody may have frozen its ``lxc-start`` instead, without which nothing enters it and no end is told."""
        return super().frozen(container) or self._keepers.frozen(container)

    def _freeze(self, container: str, command: str, frozen: bool) -> None:
        if self._keepers.frozen(container):  # LXC's commands would wait for its answer
            self._keepers.freeze(container, False)
        if self._groups.frozen(container) == frozen:
            return
        answer = calls.call([self._commands[command], "-P", str(self._lxcpath), "-n", container])
        if not frozen and self._groups.frozen(container):
            self._groups.freeze(container, False)  # by another hand than LXC's, which knows nothing of it
        if self._groups.frozen(container) != frozen:
            if not self._groups.processes(container):
                raise gone(container)
            reason = answer.error.strip().replace("\n", "; ") or f"it ended with {answer.status}"
            raise Unavailable(f"{command} cannot act on container {container[:12]}: {reason}")

    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        self._groups.update(container, resources)

    def remove(self, container: str) -> None:
        self._groups.remove(container)
        self._keepers.remove(container)
        shutil.rmtree(self._lxcpath / container, ignore_errors=True)

    def restore(self, running: Collection[str]) -> None:
        known = {path.name for path in self._lxcpath.iterdir()} if self._lxcpath.is_dir() else set()
        for container in known - set(running):
            self.remove(container)
        self._groups.remove_others(running)
        self._keepers.remove_others(running)

    def _cgroup_lines(self, container: str, resources: Mapping[str, Any]) -> list[bytes]:
        rules = resources.get("devices") or () if self._groups.unified and not self._groups.has("devices") else ()
        return [
            text.line("lxc.cgroup.dir.container", self._groups.path(container).lstrip("/")),
            text.line("lxc.cgroup.dir.monitor", self._keepers.path(container).lstrip("/")),
            text.line("lxc.cgroup.dir.monitor.pivot", self._keepers.name),
            *config.cgroups(self._groups.writes(container, resources), self._groups.unified, rules),
        ]

    def _hierarchies(self, container: str, linux: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What the container is to see of each: its own group, if it has a cgroup namespace."""
        own = any(each["type"] == "cgroup" for each in linux.get("namespaces") or ())
        groups = self._groups.directories(container)
        places = [group[: -len(self._groups.path(container))] for group in groups]
        return [(os.path.basename(place), group if own else place) for place, group in zip(places, groups, strict=True)]  # noqa: PTH119

    def _leaf(self, container: str) -> str:
        """Where lxc-attach starts in version 2's hierarchy, whose groups have processes or groups, not both."""
        groups = zip([*self._groups.places, self._groups.unified], self._groups.directories(container), strict=False)
        return next((f"{group}/{_LEAF}" for place, group in groups if place == self._groups.second), "")

    def _common(self, container: str) -> dict[str, Any]:
        return {
            "id": container,
            "lxcpath": str(self._lxcpath),
            "directory": str(self._lxcpath / container),
            "oom": self._groups.order(container, {})["oom"],
        }


def _forbid_device_nodes(made: dict[str, Any]) -> None:
    """Where nothing watches over devices, a node of the host's disk would be as good as the disk."""
    node = capabilities.mask(["CAP_MKNOD"])
    made["capabilities"] = {name: mask & ~node for name, mask in made["capabilities"].items()}
