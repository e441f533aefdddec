"""dockerd with its containerd, the real one: as it comes, but for its places and its network namespace."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from harness.net import Net

PATIENCE = 60.0


class Dockerd:
    """``net`` is whose inside it is in, ``run`` a short path for its sockets; ``options`` are dockerd's. Its containers
    are in cgroups below ``name``."""

    def __init__(self, directory: Path, run: Path, net: Net, name: str, *options: str) -> None:
        self._directory = directory
        self._run = run
        self.net = net
        self._name = name
        self._options = options
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
            *self._options,
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
        containers = self.docker("ps", "-aq").split()
        if containers:
            self.docker("rm", "-f", *containers)
        daemon.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(30)
        for pid in self._processes():  # what it should have ended itself: containerd, shims
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait(10)

    def docker(self, *args: object) -> str:
        """What the docker CLI says of this daemon."""
        command = ["docker", "-H", self.host, *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout

    def _processes(self) -> list[int]:
        """Those that have one of our directories on their command line."""
        return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if self._is_ours(pid)]  # noqa: PTH208

    def _is_ours(self, pid: int) -> bool:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return any(os.fsencode(f"{each}/") in line for each in (self._directory, self._run))
