"""The other engines of this machine, started by the bench in places of their own."""

from __future__ import annotations

from pathlib import Path

from worker import Worker

from harness.net import Net


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
