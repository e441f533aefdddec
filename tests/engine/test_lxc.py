"""Containers by the real LXC, and LXC's own commands on them. All other tests, too, run with ``--runtime lxc``."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import lacking
from harness import Engine
from sampan.linux import process

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _has_lxc() -> None:
    if shutil.which("lxc-start") is None:
        lacking("there is no LXC on this machine (apt install lxc)")


@pytest.fixture
def boat(engine: Engine) -> Iterator[str]:
    """The id of a container by LXC."""
    flags = ["--runtime", "lxc", "-e", "A=b c", "-m", "64m", "-w", "/etc", "--hostname", "boat"]
    script = "echo up; pwd; exec sleep 1000"
    ident = engine.docker("run", "-d", *flags, engine.image(), "sh", "-c", script).ok().out
    yield ident
    engine.docker("rm", "-f", ident).ok()


def lxc(engine: Engine, command: str, ident: str, *args: str) -> str:
    """One of LXC's commands, as somebody would call it who knows the lxcpath."""
    [directory] = engine.root.rglob(f"lxc/containers/{ident}")
    argv = [*inside(engine), command, "-P", str(directory.parent), "-n", ident, *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(engine: Engine) -> list[str]:
    """LXC's commands find one another by sockets of the network namespace."""
    daemon = Path(f"{engine.root}/daemon.pid").read_text().strip()
    return ["nsenter", f"--net=/proc/{daemon}/ns/net"]


def test_lxcs_commands_know_the_container(engine: Engine, boat: str, docker_cli: str) -> None:
    pid = engine.docker("inspect", "--format", "{{.State.Pid}}", boat).out
    told = dict(line.split(None, 1) for line in lxc(engine, "lxc-info", boat).splitlines() if ": " in line)
    assert (told["State:"], told["PID:"]) == ("RUNNING", pid)
    assert lxc(engine, "lxc-cgroup", boat, "memory.limit_in_bytes" if _version_1() else "memory.max").strip() == str(
        64 << 20
    )
    assert lxc(engine, "lxc-attach", boat, "--", "sh", "-c", "hostname; echo $A").split("\n")[:2] == ["boat", "b c"]
    engine.docker("pause", boat).ok()
    assert "FROZEN" in lxc(engine, "lxc-info", boat, "-s")
    engine.docker("unpause", boat).ok()
    assert "RUNNING" in lxc(engine, "lxc-info", boat, "-s")


def test_whoever_freezes_its_lxc_start_hangs_nobody(engine: Engine, boat: str, docker_cli: str) -> None:
    """Nothing enters a container then, and nobody hears of its end."""
    groups = [Path(path) for path in engine.leftovers().cgroups if path.endswith(f"-lxc-start/{boat}")]
    file, freeze = next(
        (group / name, value)
        for name, value in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1"))
        for group in groups
        if (group / name).exists()
    )
    file.write_text(freeze)
    refused = engine.docker("exec", boat, "true", timeout=5)
    assert (refused.code, "was frozen, but not by this engine" in refused.stderr) == (1, True)
    engine.docker("pause", boat, timeout=5).ok()
    file.write_text(freeze)
    engine.docker("unpause", boat, timeout=5).ok()
    assert engine.docker("exec", boat, "echo", "warm").out == "warm"
    file.write_text(freeze)
    engine.docker("kill", boat, timeout=8).ok()


def test_a_group_of_lxc_in_which_somebody_is_for_a_moment_is_removed(engine: Engine, docker_cli: str) -> None:
    """Such as an ``lxc-start`` that has just ended its container's groups, and is in the last one itself."""
    ident = engine.docker("run", "-d", "--runtime", "lxc", engine.image(), "sleep", "1000").ok().out
    keepers = [Path(path).parent for path in engine.leftovers().cgroups if path.endswith(f"-lxc-start/{ident}")]
    with subprocess.Popen(["sleep", "0.7"]) as late:
        for keeper in keepers:
            (keeper / "lxc.pivot").mkdir(exist_ok=True)
            if "cpuset" not in str(keeper):  # whose new groups take nobody
                (keeper / "lxc.pivot" / "cgroup.procs").write_text(str(late.pid))
        engine.docker("rm", "-f", ident).ok()
        late.wait()
    engine.wait_until(lambda: not any(keeper.exists() for keeper in keepers), "the groups are gone")


def _version_1() -> bool:
    return Path("/sys/fs/cgroup/memory").is_dir()


def test_it_is_a_container_like_others(engine: Engine, boat: str, docker_cli: str) -> None:
    engine.wait_until(lambda: engine.docker("logs", boat).out.split() == ["up", "/etc"], "it has said all")
    done = engine.docker("exec", "-u", "1000:1001", "-w", "/tmp", "-e", "C=d", boat, "sh", "-c", "id -u; pwd; echo $C")
    assert done.out.split() == ["1000", "/tmp", "d"]
    assert engine.docker("exec", boat, "sh", "-c", "exit 9").code == 9
    assert engine.docker("exec", boat, "no-such-program").code == 127
    engine.docker("update", "-m", "32m", "--memory-swap", "64m", boat).ok()
    assert "/ 32MiB" in engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", boat).out
    engine.docker("stop", "-t", "0", boat).ok()
    assert engine.docker("wait", boat).out == "137"
    engine.docker("start", boat).ok()
    assert engine.docker("exec", boat, "true").code == 0


@pytest.mark.parametrize(
    ("args", "code"), [(("sh", "-c", "exit 3"), 3), (("/etc/passwd",), 126), (("no-such-program",), 127)]
)
def test_how_it_ends_is_known(engine: Engine, docker_cli: str, args: tuple[str, ...], code: int) -> None:
    assert engine.docker("run", "--rm", "--runtime", "lxc", engine.image(), *args).code == code


def test_a_preloaded_library_of_the_image_is_nothing_for_hooks(engine: Engine, docker_cli: str) -> None:
    """LXC runs its hooks with the container's environment, before it leaves the host's root."""
    flags = ["--sysctl", "kernel.msgmax=4242", "-e", "LD_PRELOAD=/no/such/library.so", "-e", "PATH=/nowhere:/bin"]
    done = engine.docker("run", "--rm", "--runtime", "lxc", *flags, engine.image(), "cat", "/proc/sys/kernel/msgmax")
    assert done.out.splitlines()[-1] == "4242"
    assert done.code == 0


def test_its_configuration_starts_by_hand(engine: Engine, docker_cli: str, tmp_path: Path) -> None:
    """As the configuration says at its top: attach the root, take away what is gone, lxc-start."""
    script = "echo up as $(id -u) in $(pwd) on $(hostname) with $A; exec sleep 1000"
    flags = ["-e", "A=b c", "-u", "7:8", "-w", "/etc", "--hostname", "boat", "-m", "64m", "--read-only"]
    flags += ["--cap-drop", "ALL", "--tmpfs", "/run"]
    ident = engine.docker("run", "-d", "--runtime", "lxc", *flags, engine.image(), "sh", "-c", script).ok().out
    [directory] = engine.root.rglob(f"lxc/containers/{ident}")
    shutil.copytree(directory, tmp_path / "kept", ignore=lambda where, names: {"rootfs"} & set(names))
    root = directory / "rootfs"
    archive = tmp_path / "root.tar"
    engine.docker("export", "-o", str(archive), ident).ok()
    engine.docker("stop", "-t", "0", ident).ok()
    engine.wait_until(lambda: not has_groups(ident) and not directory.exists(), "LXC has gone")
    started = None
    try:
        shutil.copytree(tmp_path / "kept", directory, dirs_exist_ok=True)
        root.mkdir(exist_ok=True)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(root)], check=True)
        for above in (root, *root.parents[:-1]):  # the user needs to pass, as everyone can in the engine's mount
            above.chmod(above.stat().st_mode | 0o011)
        config = directory / "config"
        gone = ("lxc.namespace.share.net", f"lxc.mount.entry = {engine.root}/exec/bundles/")
        lines = [line for line in config.read_text().splitlines() if not line.startswith(gone)]
        config.write_text("\n".join([*lines, "lxc.net.0.type = empty"]) + "\n")
        [command] = [line.partition(" -- ")[2] for line in lines if line.startswith("# lxc.init.cmd")]
        argv = ["lxc-start", "-F", "-P", str(directory.parent), "-n", ident, "--", *shlex.split(command)]
        argv = [*inside(engine), *argv]
        started = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert started.stdout is not None
        assert started.stdout.readline().strip() == "up as 7 in /etc on boat with b c"
        assert "RUNNING" in lxc(engine, "lxc-info", ident, "-s")
        lxc(engine, "lxc-stop", ident, "-k")
        started.communicate(timeout=30)
        engine.docker("start", ident).ok()  # and sampan takes it back
    finally:
        if started:
            started.kill()
        engine.docker("rm", "-f", ident).ok()
        shutil.rmtree(directory, ignore_errors=True)


def has_groups(ident: str) -> bool:
    return any(ident in names for _, names, _ in os.walk("/sys/fs/cgroup"))


@pytest.mark.parametrize("victim", ["lxc-start", "monitor", "init"])
def test_whoever_of_it_dies_nothing_is_left(engine: Engine, docker_cli: str, nothing_left: None, victim: str) -> None:
    ident = engine.docker("run", "-d", "--runtime", "lxc", engine.image(), "sleep", "1000").ok().out
    init = int(engine.docker("inspect", "-f", "{{.State.Pid}}", ident).out)
    keeper = process.parent(init) or 0
    assert "lxc-start" in Path(f"/proc/{keeper}/comm").read_text()
    os.kill({"lxc-start": keeper, "monitor": process.parent(keeper) or 0, "init": init}[victim], signal.SIGKILL)
    status = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", ident]
    engine.wait_until(lambda: engine.docker(*status).out == "exited 137", "its end is known")
    engine.wait_until(lambda: not Path(f"/proc/{init}").exists(), "its init is gone")
    engine.docker("start", ident).ok()
    assert engine.docker("exec", ident, "echo", "again").out == "again"
    engine.docker("rm", "-f", ident).ok()


def test_what_it_cannot_do_is_told(engine: Engine, docker_cli: str) -> None:
    done = engine.docker("run", "--rm", "--runtime", "lxc", "--cgroupns", "host", engine.image(), "true")
    assert (done.code, "cgroup namespace of its own" in done.stderr) == (125, True)
