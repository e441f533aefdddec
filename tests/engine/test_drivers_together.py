"""Drivers chosen for each container, several of a family in one engine; and what a runtime of a binary promises."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Engine, Result
from sampan.testing.runtime import rootfs

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

Cli = Callable[..., Result]

BINARIES = [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"there is no {name} on this machine"))
    for name in ("crun", "runc")
]


@pytest.fixture
def name() -> str:
    return f"boat-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def engine(engine: Engine) -> Engine:
    engine.image()
    for runtime in ("native", "crun", "runc", "lxc"):
        engine.docker("run", "--rm", "--runtime", runtime, "shell", "true")  # what each makes once and keeps
    engine.docker("run", "--rm", "--label", "sampan.storage-driver=vfs", "shell", "true").ok()
    return engine


# ── chosen by name ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runtime", ["native", *BINARIES])
def test_each_container_has_the_runtime_that_it_asks_for(
    engine: Engine, cli: Cli, shell: str, name: str, nothing_left: None, runtime: str
) -> None:
    cli("run", "-d", "--name", name, "--runtime", runtime, shell, "sleep", "1000").ok()
    assert cli("inspect", "-f", "{{.HostConfig.Runtime}} {{.State.Status}}", name).out == f"{runtime} running"
    assert cli("exec", name, "echo", "hello").out == "hello"
    pid = int(cli("inspect", "-f", "{{.State.Pid}}", name).out)
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    assert (f"-{runtime}/" in groups) == (runtime != "native"), "each runtime has groups of its own"
    cli("rm", "-f", name).ok()


def test_info_tells_the_runtimes(engine: Engine) -> None:
    told = json.loads(engine.docker("info", "--format", "{{json .}}").out)
    assert told["DefaultRuntime"] in told["Runtimes"]
    usable = {one["name"] for one in json.loads(engine.sampan("drivers", "--format", "json").out) if one["usable"]}
    assert {"native", *told["Runtimes"]} <= usable


def test_lists_tell_which_drivers_a_container_has(engine: Engine, shell: str, name: str, nothing_left: None) -> None:
    engine.sampan("create", "--name", name, "--runtime", "crun", "--storage-driver", "vfs", shell, "true").ok()
    words = ["ps", "-a", "--filter", f"name={name}", "--format", "{{.Runtime}} {{.StorageDriver}} {{.Networks}}"]
    assert engine.sampan(*words).out == "crun vfs bridge"
    words[-1] = "table {{.Names}}\\t{{.StorageDriver}}"
    assert [line.split() for line in engine.sampan(*words).out.splitlines()] == [
        ["NAMES", "STORAGE", "DRIVER"],
        [name, "vfs"],
    ]
    engine.sampan("rm", name).ok()


def test_info_tells_the_storage_drivers(engine: Engine) -> None:
    assert "Storage drivers: overlayfs vfs" in engine.docker("info").out
    assert "overlayfs vfs" in engine.sampan("info").out


def test_a_network_driver_that_does_not_exist_is_refused_in_dockers_words(engine: Engine, cli: Cli) -> None:
    done = cli("network", "create", "--driver", "nosuch", "nowhere")
    assert done.code == 1
    assert 'plugin "nosuch" not found' in done.stderr
    assert "bridge" in done.stderr


def test_a_runtime_that_does_not_exist_is_refused_with_those_that_do(
    engine: Engine, cli: Cli, shell: str, nothing_left: None
) -> None:
    done = cli("run", "--rm", "--runtime", "nosuch", shell, "true")
    assert done.code == 125
    assert "unknown or invalid runtime name: nosuch" in done.stderr
    assert "crun" in done.stderr
    assert "native" in done.stderr
    status, _ = engine.api("POST", "/containers/create", {"Image": shell, "HostConfig": {"Runtime": "nosuch"}})
    assert status == 400


def test_a_runtime_without_a_binary_says_what_to_do(engine: Engine, shell: str, nothing_left: None) -> None:
    done = engine.docker("run", "--rm", "--runtime", "oci", shell, "true")
    assert (done.code, "runtime.options.oci.path" in done.stderr) == (125, True)


def test_any_binary_by_its_path(new_engine: Callable[..., Engine]) -> None:
    binary = shutil.which("crun") or shutil.which("runc")
    if not binary:
        pytest.skip("there is neither crun nor runc on this machine")
    engine = new_engine(runtime={"driver": "oci", "options": {"oci": {"path": binary}}})
    engine.image()
    assert engine.docker("run", "--rm", "shell", "echo", "hello").out == "hello"
    assert engine.docker("info", "--format", "{{.DefaultRuntime}}").out == "oci"


@pytest.mark.parametrize("how", ["flag", "label"])
def test_each_container_has_the_storage_that_it_asks_for(
    engine: Engine, shell: str, name: str, nothing_left: None, how: str
) -> None:
    flag = ["--storage-driver", "vfs"] if how == "flag" else ["--label", "sampan.storage-driver=vfs"]
    engine.sampan("run", "-d", "--name", name, *flag, shell, "sh", "-c", "echo kept > /file; sleep 1000").ok()
    assert engine.docker("inspect", "-f", "{{.Driver}} {{.GraphDriver.Name}}", name).out == "vfs vfs"
    engine.wait_until(lambda: engine.docker("exec", name, "cat", "/file").code == 0, "it has written its file")
    assert engine.docker("diff", name).out == "A /file"
    engine.docker("commit", name, f"{name}:1").ok()
    engine.docker("rm", "-f", name).ok()
    assert engine.docker("run", "--rm", f"{name}:1", "cat", "/file").out == "kept", "on the default storage again"
    engine.docker("rmi", f"{name}:1").ok()


def test_a_daemon_of_another_storage(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """The other way round: vfs for all, and overlayfs for who asks. What one wrote, the other stands on."""
    engine = new_engine(storage={"driver": "vfs"})
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(rootfs.make(tmp_path / "root"), ".")
    engine.docker("import", tmp_path / "root.tar", "small:1").ok()
    on = ["--label", "sampan.storage-driver=overlayfs"]
    made = engine.docker("create", *on, "small:1", "sh", "-c", "echo kept >/file; rm -r /tmp").out
    engine.sampan("start", "-a", made).ok()
    plain = engine.docker("create", "small:1", "true").out
    assert engine.docker("inspect", "-f", "{{.Driver}}", made, plain).out.split() == ["overlayfs", "vfs"]
    engine.docker("commit", made, "kept:1").ok()
    engine.kill()
    engine.start()
    for words in ([], ["--storage-driver", "overlayfs"], ["--storage-driver", "vfs"]):
        assert engine.sampan("run", "--rm", *words, "kept:1", "sh", "-c", "cat /file; ls -d /tmp").stdout == "kept\n"
    engine.docker("rm", made, plain).ok()
    engine.docker("rmi", "kept:1", "small:1").ok()
    layers = list((engine.data / "storage").glob("*/layers/*"))
    assert not layers, "neither keeps a layer"


def test_a_storage_that_does_not_exist_is_refused_with_those_that_do(
    engine: Engine, shell: str, nothing_left: None
) -> None:
    for client, flag in (
        (engine.sampan, "--storage-driver=nosuch"),
        (engine.docker, "--label=sampan.storage-driver=no"),
    ):
        done = client("run", "--rm", flag, shell, "true")
        assert (done.code, "overlayfs" in done.stderr, "vfs" in done.stderr) == (125, True, True)


def test_drivers_side_by_side_reach_one_another(engine: Engine, shell: str, name: str) -> None:
    engine.docker("network", "create", name).ok()
    engine.docker("run", "-d", "--name", f"{name}-a", "--network", name, shell, "sleep", "1000").ok()
    wanted = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = engine.docker("inspect", "-f", wanted, f"{name}-a").out
    other = ["--runtime", "crun", "--label", "sampan.storage-driver=vfs", "--network", name]
    engine.docker("run", "--rm", *other, shell, "ping", "-c", "1", "-W", "5", address).ok()
    engine.docker("rm", "-f", f"{name}-a").ok()
    engine.docker("network", "rm", name).ok()


# ── what a binary does for us ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runtime", BINARIES)
def test_what_cannot_be_executed_is_told_as_docker_tells_it(
    engine: Engine, cli: Cli, shell: str, nothing_left: None, runtime: str
) -> None:
    for args, code, words in (
        (["nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["/no/such"], 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (["/etc"], 126, 'exec: "/etc": permission denied'),
    ):
        done = cli("run", "--rm", "--runtime", runtime, shell, *args)
        assert (done.code, words in done.stderr) == (code, True), done


@pytest.mark.parametrize("runtime", BINARIES)
def test_a_terminal_has_its_size_and_the_bundle_lies_beside_the_container(
    engine: Engine, shell: str, name: str, nothing_left: None, runtime: str
) -> None:
    body = {
        "Image": shell,
        "Tty": True,
        "Cmd": ["sh", "-c", "stty size; tty; sleep 1000"],
        "HostConfig": {"Runtime": runtime, "ConsoleSize": [33, 77]},
    }
    assert engine.api("POST", f"/containers/create?name={name}", body)[0] == 201
    engine.docker("start", name).ok()
    engine.wait_until(lambda: "/dev/" in engine.docker("logs", name).out, "it has told its terminal")
    assert engine.docker("logs", name).out.split()[:2] == ["33", "77"]
    ident = engine.docker("inspect", "-f", "{{.Id}}", name).out
    config = json.loads((engine.root / "exec" / "bundles" / ident / "config.json").read_text())
    assert config["process"]["args"][0] == "sh"
    assert config["linux"]["cgroupsPath"].endswith(ident)
    engine.docker("rm", "-f", name).ok()


@pytest.mark.parametrize("runtime", ["native", "lxc", *BINARIES])
def test_its_control_groups_are_there_to_be_read(engine: Engine, shell: str, nothing_left: None, runtime: str) -> None:
    script = "cd /sys/fs/cgroup; cat */pids.current pids.current; for at in . */; do mkdir $at/mine && echo made; done"
    done = engine.docker("run", "--rm", "--runtime", runtime, shell, "sh", "-c", script)
    if "unknown or invalid runtime" in done.stderr:
        pytest.skip(f"there is no {runtime} on this machine")
    assert "made" not in done.stdout
    assert done.stdout.split()[0].isdecimal()


@pytest.mark.parametrize("runtime", BINARIES)
def test_the_binary_itself_knows_the_engines_containers(
    engine: Engine, shell: str, name: str, nothing_left: None, runtime: str
) -> None:
    """What ``start`` changes in a container's state is changed, also where it is not what has started it."""
    ident = engine.docker("run", "-d", "--name", name, "--runtime", runtime, shell, "sleep", "1000").out
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", name).out
    root = str(engine.root / "exec" / "runtime" / runtime / "state")
    state = json.loads(engine.run(runtime, "--root", root, "state", ident).stdout)
    assert (state["status"], str(state["pid"])) == ("running", pid)
    assert "running" in engine.run(runtime, "--root", root, "list").stdout
    engine.docker("rm", "-f", name).ok()
    listed = [runtime, "--root", root, "list"]
    engine.wait_until(lambda: ident not in engine.run(*listed).stdout, "it is gone there, too")


@pytest.mark.parametrize("runtime", BINARIES)
def test_paused_updated_counted_and_out_of_memory(
    engine: Engine, shell: str, name: str, nothing_left: None, runtime: str
) -> None:
    engine.docker("run", "-d", "--name", name, "--runtime", runtime, "-m", "64m", shell, "sleep", "1000").ok()
    engine.docker("pause", name).ok()
    assert engine.docker("inspect", "-f", "{{.State.Status}}", name).out == "paused"
    engine.docker("unpause", name).ok()
    engine.docker("update", "-m", "32m", "--memory-swap", "-1", "--pids-limit", "50", name).ok()
    assert "32MiB" in engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).out
    assert "sleep 1000" in engine.docker("top", name).out
    engine.docker("exec", name, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1")
    engine.docker("kill", name).ok()
    engine.docker("wait", name).ok()
    assert engine.docker("inspect", "-f", "{{.State.OOMKilled}}", name).out == "true"
    engine.docker("rm", name).ok()


@pytest.mark.parametrize("runtime", BINARIES)
def test_it_outlives_its_daemon_and_is_found_lost_without_its_monitor(
    engine: Engine, shell: str, name: str, nothing_left: None, runtime: str
) -> None:
    engine.docker("run", "-d", "--name", name, "--runtime", runtime, shell, "sleep", "1000").ok()
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", name).out
    engine.kill()
    engine.start()
    assert engine.docker("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", name).out == f"running {pid}"
    assert engine.docker("exec", name, "echo", "hello").out == "hello"
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(parent), signal.SIGKILL)
    status = ["inspect", "-f", "{{.State.Status}}", name]
    engine.wait_until(lambda: engine.docker(*status).out == "exited", "the loss is noticed")
    engine.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "what the monitor watched is gone")
    engine.docker("start", name).ok()
    engine.docker("rm", "-f", name).ok()
