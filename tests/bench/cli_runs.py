"""(a) The docker CLI runs ``true`` in a new container and removes it; podman with its own CLI."""

from __future__ import annotations

import time
from collections.abc import Callable

from reporting import OURS, Part, Row, at_least
from rivals import Podman
from rounds import take_turns
from scratch import IMAGE, Scratch, docker
from worker import timed

from harness.dockerd import Dockerd
from harness.engine import Engine

GOALS = {"bridge": 6.0, "none": 6.0, "host": 4.0}


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part(f"docker run --rm {IMAGE} true: the same docker CLI (podman: its own)", "ms")
    part.notes.append(f"the CLI alone (docker --version): {_cli_alone(runs) * 1000:.0f} ms of each")
    for network, factor in GOALS.items():
        scratch.tell(f"(a) {network}")
        subjects = {OURS: _docker_run(scratch.sampan, network)}
        if scratch.dockerd:
            subjects["dockerd"] = _docker_run(scratch.dockerd, network)
        if scratch.podman:
            subjects["podman"] = _podman_run(scratch.podman, network)
        part.rows.append(Row(network, take_turns(subjects, runs, part.notes.append), at_least("dockerd", factor)))
    return part


def _docker_run(engine: Engine | Dockerd, network: str) -> Callable[[], float]:
    command = ["docker", "-H", engine.host, "run", "--rm", "--network", network, IMAGE, "true"]

    def run() -> float:
        seconds, code, _, error = timed(command)
        if code:
            raise RuntimeError(f"exit code {code}: {error.strip()}")
        return seconds

    return run


def _podman_run(podman: Podman, network: str) -> Callable[[], float]:
    name = "podman" if network == "bridge" else network
    return lambda: podman.run("run", "--rm", "--network", name, IMAGE, "true")[0]


def _cli_alone(runs: int) -> float:
    times = sorted(timed(["docker", "--version"])[0] for _ in range(runs))
    return times[len(times) // 2]


def settle(engine: Engine | Dockerd) -> None:
    """Wait until nothing is left of earlier containers."""
    while docker(engine.host, "ps", "-aq"):
        time.sleep(0.05)
