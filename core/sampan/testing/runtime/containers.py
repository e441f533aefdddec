"""Running a driver's containers as the engine does: launcher, monitors, streams, removal."""

from __future__ import annotations

import contextlib
import copy
import os
import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sampan.containers.monitors import Exit, Launch, Monitors, Started
from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Bundle, ExecProcess
from sampan.linux import mounts, netns, process
from sampan.testing.runtime import rootfs
from sampan.testing.runtime.spec import command, process_of

PATIENCE = 30.0
"""Seconds after which anything that a runtime does counts as hanging."""

_SYSTEM = ("/proc", "/dev", "/sys", "/etc", "/bin", "/lib", "/usr", "/root", "/boot")


class Outcome(msgspec.Struct, frozen=True):
    """What a process wrote, and how it ended."""

    out: str
    err: str
    code: int
    oom: bool = False


class Running:
    """A started process: the init of a container, or an exec'ed one."""

    def __init__(self, key: str, containers: Containers, stream: socket.socket, *, tty: bool) -> None:
        self.key = key
        self.started = Started(0, 0, 0)
        self.ended = threading.Event()
        self.exit = Exit(-1, False, 0)
        self._containers = containers
        self._stream = stream
        self._tty = tty
        self._raw = bytearray()
        self._read = {1: bytearray(), 2: bytearray()}

    @property
    def pid(self) -> int:
        """As the host sees it."""
        return self.started.pid

    def send(self, data: str) -> None:
        """Write to its standard input."""
        self._stream.sendall(data.encode())

    def end_input(self) -> None:
        self._stream.shutdown(socket.SHUT_WR)

    def until(self, text: str) -> str:
        """Its output so far, as soon as that holds ``text``."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.out:
            if not self._receive(deadline):
                raise AssertionError(f"the output ended, or stopped, without {text!r}: {self.out!r}, {self.err!r}")
        return self.out

    def finish(self) -> Outcome:
        """Wait until it has ended and all of its output has come."""
        deadline = time.monotonic() + PATIENCE
        while self._receive(deadline):
            pass
        code = self.wait()
        self._stream.close()
        return Outcome(self.out, self.err, code.code, code.oom)

    def wait(self) -> Exit:
        assert self.ended.wait(PATIENCE), f"the end of {self.key[:12]} was not reported"
        return self.exit

    def close(self) -> None:
        self._stream.close()

    @property
    def out(self) -> str:
        return self._read[1].decode(errors="replace")

    @property
    def err(self) -> str:
        return self._read[2].decode(errors="replace")

    def _receive(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing came for {PATIENCE:.0f} s after {self.out!r}, {self.err!r}")
        data = self._stream.recv(1 << 16)
        if self._tty:
            self._read[1] += data
            return bool(data)
        self._raw += data
        while len(self._raw) >= 8 and len(self._raw) >= 8 + (size := int.from_bytes(self._raw[4:8], "big")):
            self._read[self._raw[0]] += self._raw[8 : 8 + size]
            del self._raw[: 8 + size]
        return bool(data)


class Containers:
    """The containers of one test."""

    def __init__(self, driver: RuntimeDriver, directory: Path) -> None:
        self.driver = driver
        self.directory = directory
        self._monitors = Monitors([driver.monitor_module], self._on_exit, usual=driver.usual(command()))
        self._running: dict[str, Running] = {}
        self._specs: dict[str, dict[str, Any]] = {}
        self._keys: set[str] = set()
        self._pids: list[tuple[int, int | None]] = []
        self._network = directory / "network"

    def __enter__(self) -> Containers:
        self._network.touch()
        namespace = netns.create(lambda: None)
        mounts.mount(f"/proc/self/fd/{namespace}", self._network, None, mounts.MS_BIND)
        os.close(namespace)
        self._monitors.open()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.remove_all()
        finally:
            self._monitors.close()
            mounts.detach(self._network)

    def remove_all(self) -> None:
        """Remove every container, as the engine does it: the runtime's things go, and then the monitor."""
        for key in self._specs:
            self.driver.remove(key)
        for key, running in self._running.items():
            running.wait()
            running.close()
            self._monitors.forget(key)
        self._specs.clear()
        self._running.clear()

    def forget(self, running: Running) -> None:
        """It has ended by itself, and the driver is never told to remove it."""
        running.wait()
        running.close()
        self._monitors.forget(running.key)
        del self._running[running.key], self._specs[running.key]

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────

    def root(self) -> Path:
        """A new root file system."""
        return rootfs.make(self.directory / f"root-{uuid.uuid4().hex[:8]}")

    def bundle(self, spec: Mapping[str, Any]) -> Bundle:
        """A bundle for a new container."""
        key = uuid.uuid4().hex + uuid.uuid4().hex
        self._keys.add(key)
        path = self.directory / key
        (path / "rootfs").mkdir(parents=True)
        whole = copy.deepcopy(dict(spec))
        whole["root"]["path"] = str(path / "rootfs")
        if self.driver.features().isolation == "filesystem":
            whole["mounts"], whole["linux"] = [], {"namespaces": [], "resources": {}}
            whole.pop("hostname", None)
        for namespace in whole["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace.setdefault("path", str(self._network))
        return Bundle(id=key, path=path, spec=whole)

    def start(
        self,
        spec: Mapping[str, Any],
        *,
        root: Path | None = None,
        size: tuple[int, int] | None = None,
        stdin: bool = True,
    ) -> Running:
        """Start a container; its output is ours from the first byte on."""
        bundle = self.bundle(spec)
        self._specs[bundle.id] = bundle.spec
        tty = bool(spec["process"]["terminal"])
        tree = mounts.bind(root or self.root())
        try:
            return self._launch(
                bundle.id,
                "start",
                lambda: self.driver.order(bundle),
                root=tree,
                tty=tty,
                size=size,
                stdin=stdin,
                directory=bundle.path,
            )
        finally:
            os.close(tree)

    def run(self, spec: Mapping[str, Any], *, root: Path | None = None, stdin: str | None = None) -> Outcome:
        """Start a container, give it its input, and wait for its end."""
        running = self.start(spec, root=root, stdin=stdin is not None)
        if stdin is not None:
            running.send(stdin)
        running.end_input()
        return running.finish()

    def exec(self, running: Running, *args: str, size: tuple[int, int] | None = None, **changes: Any) -> Running:
        """Start one more process in a container; ``changes`` are laid over OCI's ``process``."""
        wanted = process_of(*args, **changes)
        spec = self._specs[running.key]
        key = uuid.uuid4().hex
        order = ExecProcess(id=key, container=running.key, process=wanted)
        return self._launch(
            key,
            "exec",
            lambda: self.driver.exec_order(order, running.pid, spec),
            tty=bool(wanted["terminal"]),
            size=size,
            stdin=True,
        )

    def execute(self, running: Running, *args: str, **changes: Any) -> Outcome:
        """The same, and wait for its end."""
        process_ = self.exec(running, *args, **changes)
        process_.end_input()
        return process_.finish()

    def resize(self, running: Running, rows: int, columns: int) -> None:
        self._monitors.resize(running.key, rows, columns)

    def kill(self, running: Running) -> None:
        """End a container for sure."""
        self.driver.signal(running.key, running.pid, signal.SIGKILL)

    def kill_monitor(self, running: Running) -> None:
        os.kill(running.started.monitor, signal.SIGKILL)

    def _launch(self, key: str, kind: str, order: Callable[[], Any], **rest: Any) -> Running:
        ours, theirs = Monitors.stream(stdin=True, stdout=True, stderr=True)
        ours.setblocking(True)
        running = Running(key, self, ours, tty=rest["tty"])
        self._running[key] = running
        try:
            launch = Launch(
                key=key,
                kind=kind,
                module=self.driver.monitor_module,
                order=order(),
                streams=[theirs],
                stdin_once=True,
                **rest,
            )
            running.started = self._monitors.start(launch, timeout=PATIENCE)
        except BaseException:
            running.close()
            theirs.theirs.close()
            del self._running[key]
            raise
        self._pids.append((running.pid, process.start_time(running.pid)))
        return running

    def _on_exit(self, key: str, how: Exit) -> None:
        running = self._running.get(key)
        if running:
            running.exit = how
            running.ended.set()

    # ── proof ────────────────────────────────────────────────────────────────────────────────────────────────────

    def traces(self) -> set[str]:
        """What containers have in the kernel now: mounts, cgroups, processes."""
        return {*self._mounts(), *self._cgroups(), *self._processes()}

    def assert_traces(self, expected: set[str]) -> None:
        """Nothing more than ``expected`` is there; what is removed after the report gets its time."""
        until(lambda: self.traces() <= expected, lambda: f"left behind: {sorted(self.traces() - expected)}")

    def host_mounts(self) -> list[str]:
        """The host's mounts, without those of others who are at work on this machine at the same time."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if line.split()[4].startswith(_SYSTEM) or str(self.directory) in line]

    def _mounts(self) -> set[str]:
        targets = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return {
            f"mount {each}" for each in targets if each.startswith(f"{self.directory}/") and each != str(self._network)
        }

    def _cgroups(self) -> set[str]:
        """Those of containers; a group of the instance above them may stay."""
        found: set[str] = set()
        for directory, names, _ in os.walk("/sys/fs/cgroup"):
            paths = (f"{directory}/{name}" for name in names)
            found.update(f"cgroup {path}" for path in paths if any(key[:12] in path for key in self._keys))
        return found

    def _processes(self) -> set[str]:
        """Those that were started and live, and all that are in the containers' network namespace."""
        found = {f"process {pid}" for pid, began in self._pids if began and process.start_time(pid) == began}
        namespace = self._network.stat().st_ino
        for pid in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/ns/net").stat().st_ino == namespace and not _dead(pid):
                    found.add(f"process {pid}")
        return found


def _dead(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def groups(instance: str) -> list[str]:
    """Of all hierarchies, those that belong to the instance."""
    found = (f"{place}/{name}" for place, names, _ in os.walk("/sys/fs/cgroup") for name in names)
    return [each for each in found if instance in each]


def until(condition: Callable[[], object], complaint: Callable[[], str], patience: float | None = None) -> None:
    """Wait until ``condition()`` is true; ``AssertionError`` with the complaint if that takes too long."""
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(complaint())
        time.sleep(0.005)
