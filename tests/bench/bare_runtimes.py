"""(c) Runtimes alone: ``true`` in an isolated container on one root file system, from request to exit."""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from reporting import OURS, Part, Row, at_most
from rounds import take_turns
from scratch import Scratch
from worker import Worker

from sampan.containers.bundle import seccomp
from sampan.containers.monitors import Exit, Launch, Monitors
from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Bundle, Host
from sampan.linux import mounts
from sampan.testing.runtime.spec import CAPABILITIES, command
from sampan_runtime.native.driver import Native

PATIENCE = 30
LXC = """
lxc.rootfs.path = dir:{root}
lxc.uts.name = boat
lxc.net.0.type = empty
lxc.mount.auto = proc:mixed sys:mixed
lxc.autodev = 1
lxc.cgroup.dir = {name}/lxc
lxc.log.level = ERROR
"""


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part("true in a new container on the same root file system, no engine: from request to exit", "ms")
    part.notes.append("OCI runtimes and sampan: the same config.json, a network namespace of its own, all cgroups")
    with ExitStack() as stack:
        worker = stack.enter_context(Worker())
        plain = command("true")
        guarded = command("true", linux={"seccomp": seccomp.default(CAPABILITIES)})
        guarded["linux"]["resources"] = plain["linux"]["resources"]
        ours = stack.enter_context(contained(scratch, Native, plain))
        scratch.tell("(c)")
        others = _others(scratch, worker, plain)
        subjects = {OURS: lambda: ours(plain), **_oci(scratch, worker, plain, "plain"), **others}
        part.rows.append(Row("no seccomp rules", take_turns(subjects, runs, part.notes.append), at_most("crun", 0.5)))
        subjects = {OURS: lambda: ours(guarded), **_oci(scratch, worker, guarded, "guarded")}
        part.rows.append(Row("Docker's rules", take_turns(subjects, runs, part.notes.append), at_most("crun", 0.5)))
    missing = {"crun", "runc", "lxc-execute", "unshare"} - set(part.rows[0].figures)
    part.notes += [f"not measured: {name}" for name in sorted(missing)]
    return part


@contextmanager
def contained(
    scratch: Scratch, kind: type[RuntimeDriver], usual: dict[str, Any]
) -> Iterator[Callable[[dict[str, Any]], float]]:
    """A function that runs a container with our launcher, a monitor and a runtime driver, and takes its time."""
    base = scratch.run / kind.__name__.lower()
    driver = kind(Host(instance=os.urandom(4).hex(), data_root=base, exec_root=base / "run"), kind.Options())
    ends: dict[str, threading.Event] = {}
    codes: dict[str, int] = {}
    numbers = itertools.count()

    def on_exit(key: str, how: Exit) -> None:
        codes[key] = how.code
        ends[key].set()

    monitors = Monitors([driver.monitor_module], on_exit, usual=driver.usual(usual))
    monitors.open()

    def run(spec: dict[str, Any]) -> float:
        key = f"{next(numbers):064x}"
        path = base / key
        (path / "rootfs").mkdir(parents=True)
        ends[key] = threading.Event()
        spec = {**spec, "root": {"path": str(path / "rootfs"), "readonly": False}}
        began = time.perf_counter()
        root = mounts.bind(scratch.rootfs)
        order = driver.order(Bundle(id=key, path=path, spec=spec))
        monitors.start(
            Launch(key=key, kind="start", module=driver.monitor_module, order=order, root=root, directory=path)
        )
        os.close(root)
        if not ends[key].wait(PATIENCE) or codes[key]:
            raise RuntimeError(f"true ended with {codes.get(key)}")
        seconds = time.perf_counter() - began
        monitors.forget(key)
        return seconds

    try:
        yield run
    finally:
        driver.restore([])
        monitors.close()
        shutil.rmtree(base, ignore_errors=True)


def _oci(scratch: Scratch, worker: Worker, spec: dict[str, Any], kind: str) -> dict[str, Callable[[], float]]:
    """``crun run`` and ``runc run`` of a bundle."""
    bundle = scratch.directory / f"bundle-{kind}"
    bundle.mkdir(exist_ok=True)
    whole = copy.deepcopy(spec)
    whole["ociVersion"] = "1.0.2"  # older runtimes know no later one
    whole["root"]["path"] = str(scratch.rootfs)
    whole["linux"]["cgroupsPath"] = f"/{scratch.name}/oci"
    (bundle / "config.json").write_text(json.dumps(whole))
    found: dict[str, Callable[[], float]] = {}
    for program in ("crun", "runc"):
        if shutil.which(program):
            line = [program, "--root", f"{scratch.run}/{program}", "run", "--bundle", str(bundle)]
            found[program] = _counted(worker, line)
    return found


def _others(scratch: Scratch, worker: Worker, spec: dict[str, Any]) -> dict[str, Callable[[], float]]:
    found: dict[str, Callable[[], float]] = {}
    if shutil.which("lxc-execute"):
        file = scratch.directory / "lxc.conf"
        file.write_text(LXC.format(root=scratch.rootfs, name=scratch.name))
        (scratch.run / "lxc").mkdir(exist_ok=True)
        line = ["lxc-execute", "-P", f"{scratch.run}/lxc", "-f", str(file), "-n"]
        found["lxc-execute"] = _counted(worker, line, ["--", "true"])
    if shutil.which("unshare"):
        line = ["unshare", "-muinpf", "chroot", str(scratch.rootfs), "/bin/true"]
        found["unshare"] = lambda: worker.run(line)[0]
    return found


def _counted(worker: Worker, before: list[str], after: list[str] | None = None) -> Callable[[], float]:
    """A command with a new container's name in it each time."""
    numbers = itertools.count()
    return lambda: worker.run([*before, f"bench{os.getpid()}x{next(numbers)}", *(after or [])])[0]
