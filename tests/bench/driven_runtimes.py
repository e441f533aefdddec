"""(e) Runtimes whose work is done by a program from elsewhere: what our driver and monitor add to that program."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bare_runtimes import contained
from reporting import OURS, Part, Row, at_most_more
from rounds import take_turns
from scratch import Scratch
from worker import Worker, timed

from sampan.containers.bundle import seccomp
from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Host
from sampan.testing.runtime.spec import CAPABILITIES, command
from sampan_runtime.lxc.driver import Lxc
from sampan_runtime.oci.driver import Crun, Runc

_ALONE = "the program alone"
_MOST = 15  # milliseconds


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part("true in a new container, by a driver and by its program alone with the same configuration", "ms")
    for kind in (Lxc, Crun, Runc):
        name = kind.__name__.lower()
        state = kind(Host(instance="0" * 8, data_root=scratch.run, exec_root=scratch.run), kind.Options()).check()
        if not state.usable:
            part.notes.append(f"not measured: {name}: {state.reason}")
            continue
        scratch.tell(f"(e) {name}")
        for what, linux in (("no seccomp rules", {}), ("Docker's rules", {"seccomp": seccomp.default(CAPABILITIES)})):
            figures = _figures(scratch, kind, linux, runs, part.notes.append)
            part.rows.append(Row(f"{name}, {what}", figures, at_most_more(_ALONE, _MOST)))
    return part


def _figures(
    scratch: Scratch, kind: type[RuntimeDriver], linux: dict[str, Any], runs: int, note: Callable[[str], None]
) -> dict[str, list[float]]:
    spec = command("true")
    spec["linux"].update(linux)
    # Both have a network namespace of their own, which the program makes.
    with contained(scratch, kind, spec) as run, Worker() as worker:
        run(spec)
        base = scratch.run / kind.__name__.lower()
        alone = _lxc(scratch, base) if kind is Lxc else _oci(scratch, base, kind.__name__.lower(), worker)
        return take_turns({OURS: lambda: run(spec), _ALONE: alone}, runs, note)


def _lxc(scratch: Scratch, base: Path) -> Callable[[], float]:
    """``lxc-start`` with what the driver has written for the first container, under new names."""
    [written] = list(base.glob("run/containers/*/config"))
    name, text = written.parent.name, written.read_text()
    text = text.replace(f"dir:{written.parent}/rootfs", f"dir:{scratch.rootfs}")
    text = text.replace(f"{written.parent}/seccomp", f"{base}/seccomp")
    if (written.parent / "seccomp").exists():
        (base / "seccomp").write_bytes((written.parent / "seccomp").read_bytes())
    numbers = itertools.count()

    def run() -> float:
        other = f"alone-{next(numbers)}"
        place = base / "alone" / other
        place.mkdir(parents=True)
        (place / "config").write_text(text.replace(name, other))
        argv = ["lxc-start", "-F", "-n", other, "-P", str(base / "alone"), "-o", str(place / "log"), "--", "true"]
        seconds, code, _, error = timed(argv)
        if code:
            raise RuntimeError(f"lxc-start: exit code {code}: {error.strip()[-500:]}")
        return seconds

    return run


def _oci(scratch: Scratch, base: Path, program: str, worker: Worker) -> Callable[[], float]:
    """``crun run`` or ``runc run`` with what the driver has written for the first container."""
    bundle = base / "bundle"
    bundle.mkdir()
    config = json.loads(next(base.glob("*/config.json")).read_text())
    config["root"]["path"] = str(scratch.rootfs)
    config["linux"]["cgroupsPath"] = f"/{scratch.name}/alone"
    (bundle / "config.json").write_text(json.dumps(config))
    path = subprocess.run(["which", program], capture_output=True, text=True, check=True).stdout.strip()
    numbers = itertools.count()
    line = [path, "--root", f"{base}/alone", "run", "--bundle", str(bundle)]
    return lambda: worker.run([*line, f"{scratch.name}-{next(numbers)}"])[0]
