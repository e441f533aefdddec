"""A process in namespaces of its own that runs commands and takes their times.

crun and podman refuse a machine with both versions of cgroups mounted: in the worker's mount namespace the unified
one is not. Entering the namespaces is done once and is not in the times.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from sampan.linux import mounts, namespaces

TIMEOUT = 60


class Worker:
    """``net`` is the file of a network namespace to work in."""

    def __init__(self, *, net: Path | None = None) -> None:
        self._net = net

    def __enter__(self) -> Worker:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self._serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(TIMEOUT)

    def run(self, command: list[str]) -> tuple[float, str]:
        """Seconds from fork to exit, and what was printed; ``RuntimeError`` says how it failed."""
        self._pipe.send(command)
        seconds, code, out, error = self._pipe.recv()
        if code:
            raise RuntimeError(f"{' '.join(command[:6])} …: exit code {code}: {error.strip()[-500:]}")
        return seconds, out

    def _serve(self, pipe: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._pipe.close()
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        if Path("/sys/fs/cgroup/unified").is_mount() and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            mounts.detach("/sys/fs/cgroup/unified")
        if self._net:
            with self._net.open() as namespace:
                namespaces.setns(namespace.fileno(), namespaces.CLONE_NEWNET)
        while (command := pipe.recv()) is not None:
            pipe.send(timed(command))
        os._exit(0)


def timed(command: list[str]) -> tuple[float, int, str, str]:
    """Run a command: seconds, exit code, output, errors."""
    began = time.perf_counter()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        close_fds=False,
        check=False,
    )
    return time.perf_counter() - began, done.returncode, done.stdout, done.stderr
