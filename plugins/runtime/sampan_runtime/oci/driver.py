"""Runtime drivers that drive an OCI runtime's binary, the daemon's half: ``crun``, ``runc``, and ``oci`` for any other.

The engine's OCI configuration is written nearly as it is beside the container, as ``config.json``; ``fitting`` says
what is different. The binary does what it is there for: create, start, exec, pause, resume, update, delete. Counters
and processes are read from the container's cgroups, which takes no process of its own.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from sampan.drivers.errors import Conflict, Invalid, NotFound, SampanError, Unavailable
from sampan.drivers.types import Bundle, Check, ExecProcess, Order, RuntimeFeatures
from sampan.linux import capabilities, cgroups, process
from sampan_runtime import filters
from sampan_runtime.control.grouped import Grouped, gone, signal_one_of
from sampan_runtime.filters import Filters
from sampan_runtime.oci import fitting
from sampan_runtime.outside import calls
from sampan_runtime.outside.groups import OutsideGroups

_NEEDED = ("SYS_ADMIN", "SYS_PTRACE", "SETUID", "SETGID", "SETPCAP", "MKNOD")
_INITS = ("docker-init", "tini-static", "catatonit")
_MOST_PATIENCE = 50.0  # whoever starts a container waits a minute
_COMPILED = "run.oci.seccomp_bpf_data"
_LONGEST = 80  # characters of a version
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Oci(Grouped):
    monitor_module = "sampan_runtime.oci.monitor"
    name: ClassVar[str] = "oci"

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
        """``path`` of the binary; ``arguments`` that go before each of its commands; ``init``, a static program for
        ``--init``, such as tini: the first of the usual ones by default; ``patience``, seconds for each command."""

        path: str = ""
        arguments: tuple[str, ...] = ()
        init: str = ""
        patience: Annotated[float, msgspec.Meta(gt=0, le=_MOST_PATIENCE)] = 25.0

    options: Options

    @cached_property
    def _hidden(self) -> list[str]:
        """crun refuses to work where version 2 of cgroups is mounted beside version 1; nobody needs it there."""
        found = cgroups.hierarchies()
        return [found[cgroups.V2]] if cgroups.V2 in found and len(found) > 1 else []

    @cached_property
    def _hierarchies(self) -> dict[str, str]:
        return {name: place for name, place in cgroups.hierarchies().items() if place not in self._hidden}

    @cached_property
    def _groups(self) -> OutsideGroups:
        return OutsideGroups(self.host.instance, self.host.exec_root / "cgroups", self.name, self._hierarchies)

    @cached_property
    def _path(self) -> str:
        return self.options.path or shutil.which(self.name, path=_PATH) or ""

    @cached_property
    def _init(self) -> str:
        return self.options.init or next(filter(None, (shutil.which(name, path=_PATH) for name in _INITS)), "")

    @property
    def _states(self) -> Path:
        return self.host.exec_root / "state"

    def check(self) -> Check:
        missing = [name for name in _NEEDED if not capabilities.permitted() & capabilities.mask([f"CAP_{name}"])]
        if missing:
            return Check(False, f"it needs root: this process lacks CAP_{', CAP_'.join(missing)}")
        key = f"runtime.options.{self.name}.path"
        if not self._path and self.name == Oci.name:
            return Check(False, f"it has no binary: say which OCI runtime it is to drive, in {key}")
        if not self._path:
            return Check(False, f"there is no {self.name} on this machine (apt install {self.name}, or set {key})")
        if not os.access(self._path, os.X_OK):
            return Check(False, f"{key}: {self._path} cannot be executed")
        return Check(True)

    def features(self) -> RuntimeFeatures:
        why = {
            "user_namespaces": "this driver gives binaries none: they would have to make what only the host's root may"
        }
        if not self._init:
            key = f"runtime.options.{self.name}.init"
            why["init"] = f"there is no static init program on this machine (apt install tini, or set {key})"
        return RuntimeFeatures(init=bool(self._init), drives=self._version, why=why)

    @cached_property
    def _version(self) -> str:
        """As the binary says it, in its first line: ``crun version 1.8.1``; nothing if it cannot say."""
        if not self._path:
            return ""
        try:
            said = calls.call([self._path, *self.options.arguments, "--version"], patience=2.0).output
        except Unavailable:
            return ""
        return said.decode(errors="replace").partition("\n")[0].replace(" version ", " ").strip()[:_LONGEST]

    def order(self, bundle: Bundle) -> Order:
        linux = bundle.spec.get("linux") or {}
        group = self._place(bundle.id, linux.get("cgroupsPath") or "")
        config = fitting.config(bundle.spec, self._groups, group=group, init=self._init)
        self._ease(config)
        sources = fitting.named(config, bundle.path / "sources")
        if sources:
            (bundle.path / "sources").mkdir(exist_ok=True)
        (bundle.path / "config.json").write_bytes(fitting.encoded(config))
        return {
            **self._common(bundle.id, bundle.spec["process"]),
            "bundle": str(bundle.path),
            "gate": self._gate(bundle),
            "rootfs": os.fsencode(bundle.path / "rootfs"),
            "sources": sources,
            "shelf": str(bundle.path / "sources"),
            "cgroups": self._groups.directories(bundle.id),
            "oom": self._groups.order(bundle.id, {})["oom"],
        }

    def exec_order(self, process_: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        started = process.start_time(pid)
        if started is None:
            raise gone(process_.container)
        return {
            **self._common(process_.container, process_.process),
            "process": fitting.encoded(fitting.process(process_.process)),
            "pid": pid,
            "start_time": started,
        }

    def signal(self, container: str, pid: int, signal: int) -> None:
        """Where the process is one of this kernel's, in the container's groups, it takes no binary to signal it."""
        if signal_one_of(self._groups, container, pid, signal):
            return
        if not (self._states / container).exists() or self._call(container, "kill", container, str(signal)).status:
            raise gone(container)

    def pause(self, container: str) -> None:
        self._freeze(container, "pause", True)

    def resume(self, container: str) -> None:
        self._freeze(container, "resume", False)

    def _freeze(self, container: str, command: str, frozen: bool) -> None:
        """Binaries refuse what is so already, and do not wait until it is so, and so it is made sure of here."""
        refused = False
        if self._groups.frozen(container) != frozen:
            refused = bool(self._call(container, command, container).status)
        try:
            self._groups.freeze(container, frozen)
        except NotFound:  # or else its groups are not here
            if refused:
                raise

    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        wanted = fitting.resources(resources, self._groups)
        before = self._groups.values(self._groups.writes(container, wanted))
        stdin = fitting.encoded(fitting.given(wanted))
        answer = self._call(container, "update", "--resources", "-", container, stdin=stdin)
        try:
            if answer.status:
                raise _refused(answer.error)
            self._groups.update(container, wanted)  # what a binary passes over, or cannot say
        except SampanError:
            self._groups.put_back(before)
            raise

    def remove(self, container: str) -> None:
        self._groups.kill(container)
        state = self._states / container
        if state.exists():
            with contextlib.suppress(Unavailable):  # of a binary that is there no more, the rest goes without it
                self._call(container, "delete", "--force", container)
            shutil.rmtree(state, ignore_errors=True)
        self._groups.remove(container)

    def restore(self, running: Collection[str]) -> None:
        found = self._states.iterdir() if self._states.is_dir() else ()
        known = {path.name for path in found if not path.name.startswith(".")}  # crun's cache is for all
        for container in known - set(running):
            self.remove(container)
        self._groups.remove_others(running)

    def _place(self, container: str, wanted: str) -> str:
        """The container's group, the same in all hierarchies, as OCI's ``cgroupsPath``."""
        self._groups.settle(container, wanted)
        return self._groups.path(container)

    def _common(self, container: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "terminal": bool(wanted.get("terminal")),
            "id": container,
            "binary": self._command(container),
            "state": str(self._states / container),
            "hidden": self._hidden,
            "hierarchies": self._hierarchies,
            "program": wanted["args"][0],
            "patience": self.options.patience,
        }

    def _command(self, container: str) -> list[str]:
        return [self._path, *self.options.arguments, "--root", str(self._root(container))]

    def _root(self, container: str) -> Path:
        """One of its own for each container, so that what a binary has left of it is known and can be removed."""
        return self._states / container

    def _ease(self, config: dict[str, Any]) -> None:
        """Say in ``config`` what saves the binary work."""

    def _gate(self, bundle: Bundle) -> str:
        """The pipe at which a created container waits, ``""`` where only the binary knows what it waits for."""
        return ""

    def _call(self, container: str, *args: str, stdin: bytes = b"") -> calls.Answer:
        patience = self.options.patience
        return calls.call([*self._command(container), *args], stdin=stdin, hidden=self._hidden, patience=patience)


class _Known(Oci):
    """crun and runc, which name a container's directory below their root as the container, and make a named pipe there.

    So one root does for all containers: ``--root … list`` shows them, and crun, which keeps compiled seccomp rules
    there, compiles them once.
    """

    def _root(self, container: str) -> Path:
        return self._states

    def _gate(self, bundle: Bundle) -> str:
        """Where ``poststart`` hooks are to be run, or something may stand between the binary and us, it does it."""
        if self.options.path or self.options.arguments or (bundle.spec.get("hooks") or {}).get("poststart"):
            return ""
        return str(self._states / bundle.id / "exec.fifo")


class Crun(_Known):
    name = "crun"

    @cached_property
    def _filters(self) -> Filters:
        return Filters(self.host.exec_root / "seccomp")

    def _ease(self, config: dict[str, Any]) -> None:
        """Compiling seccomp rules takes crun longer than all else, each time: it takes them compiled, too (crun(1)). A
        crun that does not know this passes over it, and over what we cannot compile we pass ourselves."""
        profile = config["linux"].get("seccomp")
        if profile and filters.suits(profile):
            with contextlib.suppress(Invalid, Unavailable):
                program = base64.b64encode(self._filters.program(profile)).decode()
                config["annotations"] = {**(config.get("annotations") or {}), _COMPILED: program}


class Runc(_Known):
    name = "runc"


def _refused(error: str) -> SampanError:
    low = error.lower()
    if "busy" in low or "current usage" in low:  # crun passes the kernel's word on, runc has words of its own
        return Conflict(f"a limit cannot be set so low: the container uses more than that now ({error.strip()})")
    if "no such file" in low or "does not exist" in low:
        return NotFound(f"the container has just ended, or was given no such limit ({error.strip()})")
    return Invalid(f"the limits were refused: {error.strip()}")
