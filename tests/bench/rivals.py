"""The other engines of this machine, started by the bench in places of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from worker import Worker

from harness.net import Net

PATIENCE = 60.0


class Dockerd:
    """dockerd with its containerd: as it comes, but for its places and its network namespace."""

    def __init__(self, directory: Path, run: Path, net: Net, name: str) -> None:
        self._directory = directory
        self._run = run
        self.net = net
        self._name = name
        self.host = f"unix://{directory}/s"
        self.socket = directory / "s"

    def __enter__(self) -> Dockerd:
        self._directory.mkdir()
        (self._directory / "daemon.json").write_text("{}")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        base = self._directory
        log = (base / "log").open("wb")
        command = [
            *self.net.enter(self.net.inside),
            "dockerd",
            *("--config-file", f"{base}/daemon.json", "--pidfile", f"{base}/pid", "--host", self.host),
            *("--data-root", f"{base}/data", "--exec-root", str(self._run)),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", self._name),
        ]
        self._daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(["docker", "-H", self.host, "version"], capture_output=True, check=False).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not come up: {(base / 'log').read_text()[-1000:]}")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        daemon = getattr(self, "_daemon", None)
        if daemon is None:
            return
        containers = self._docker("ps", "-aq")
        if containers:
            self._docker("rm", "-f", *containers)
        daemon.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(30)
        for pid in self._processes():  # what it should have ended itself: containerd, shims
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait(10)

    def _docker(self, *args: str) -> list[str]:
        done = subprocess.run(
            ["docker", "-H", self.host, *args], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.stdout.split()

    def _processes(self) -> list[int]:
        """Those that have one of our directories on their command line."""
        return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if self._is_ours(pid)]  # noqa: PTH208

    def _is_ours(self, pid: int) -> bool:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return any(os.fsencode(f"{each}/") in line for each in (self._directory, self._run))


class Podman:
    """podman, which has no daemon: its commands are run in its namespaces by a worker."""

    def __init__(self, directory: Path, run: Path, net: Net, name: str) -> None:
        self._directory = directory
        self._worker = Worker(net=net.inside)
        places = ["--root", f"{directory}/data", "--runroot", f"{run}/run", "--tmpdir", f"{run}/tmp"]
        self.command = ["podman", *places, "--cgroup-manager", "cgroupfs"]
        # Its own defaults are higher than what a machine may let it set.
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
        self.run_options = ["--cgroup-parent", f"/{name}", *limits]

    def __enter__(self) -> Podman:
        self._directory.mkdir()
        self._worker.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run("rm", "--all", "--force", "--time", "0")
        finally:
            self._worker.__exit__()

    def run(self, *args: str) -> tuple[float, str]:
        """Seconds, and what it printed."""
        if args[0] == "run":
            args = ("run", *self.run_options, *args[1:])
        return self._worker.run([*self.command, *args])
