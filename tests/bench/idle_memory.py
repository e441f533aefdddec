"""(d) What one idle container costs beside its own processes: the memory of the process that watches over it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from reporting import OURS, Part, Row, Times, at_most
from rivals import Podman
from scratch import IMAGE, Scratch, docker

from harness.dockerd import Dockerd
from harness.engine import Engine
from sampan.linux import process

CONTAINERS = 10


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part(f"memory of the watching process of each of {CONTAINERS} idle containers", "kB")
    part.notes.append("sampan: monitor; dockerd: containerd-shim-runc-v2; podman: conmon (smaps_rollup)")
    scratch.tell("(d)")
    private: dict[str, Times] = {}
    proportional: dict[str, Times] = {}
    for name, engine in ((OURS, scratch.sampan), ("dockerd", scratch.dockerd), ("podman", scratch.podman)):
        if engine is None:
            continue
        try:
            pids = list(_watchers(engine))
        except RuntimeError as error:
            part.notes.append(f"{name} failed: {error}")
            continue
        private[name] = [_kilobytes(pid, "Private_Clean", "Private_Dirty") for pid in pids]
        proportional[name] = [_kilobytes(pid, "Pss") for pid in pids]
        _remove(engine)
    part.rows = [
        Row("private (USS)", private, at_most("dockerd", 0.4)),
        Row("proportional (PSS)", proportional),
    ]
    return part


def _watchers(engine: Engine | Dockerd | Podman) -> Iterable[int]:
    """The parents of the containers' inits."""
    for number in range(CONTAINERS):
        name = f"idle-{number}"
        command = ("run", "-d", "--name", name, "--network", "none", IMAGE, "sleep", "100000")
        inspect = ("inspect", "--format", "{{.State.Pid}}", name)
        if isinstance(engine, Podman):
            engine.run(*command)
            pid = int(engine.run(*inspect)[1])
        else:
            docker(engine.host, *command)
            pid = int(docker(engine.host, *inspect))
        yield process.parent(pid) or pid


def _remove(engine: Engine | Dockerd | Podman) -> None:
    names = [f"idle-{number}" for number in range(CONTAINERS)]
    if isinstance(engine, Podman):
        engine.run("rm", "--force", "--time", "0", *names)
    else:
        docker(engine.host, "rm", "--force", *names)


def _kilobytes(pid: int, *fields: str) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(float(match[1]) for field in fields if (match := re.search(rf"^{field}: +(\d+) kB", text, re.MULTILINE)))
