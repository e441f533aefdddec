"""The everyday verbs, through the unchanged docker CLI and through our own, against a real engine."""

from __future__ import annotations

import json
import re
import tarfile
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from harness import Engine, Result, runtimes

pytestmark = pytest.mark.root

Cli = Callable[..., Result]


@pytest.fixture
def name() -> str:
    return f"boat-{uuid.uuid4().hex[:8]}"


def test_version_and_info(engine: Engine, cli: Cli) -> None:
    assert "Server" in cli("version").out
    info = cli("info").out
    assert "overlayfs" in info
    assert str(engine.root / "data") in info


def test_a_container_is_isolated(engine: Engine, cli: Cli, shell: str) -> None:
    script = "echo $$; hostname; ls -d /proc/[0-9]* | wc -l; id -u; cat /proc/1/comm"
    pid, hostname, processes, user, comm = cli(
        "run", "--rm", "--hostname", "boat", shell, "sh", "-c", script
    ).out.split()
    assert (pid, hostname, user) == ("1", "boat", "0")
    assert int(processes) < 5
    assert comm in ("sh", "dash", "busybox")


@pytest.mark.parametrize("storage", ["overlayfs", "vfs"])
def test_its_files_are_its_own(engine: Engine, shell: str, storage: str) -> None:
    run = ["run", "--rm", "--storage-driver", storage, shell, "sh", "-c"]
    assert engine.sampan(*run, "echo wet > /keel && cat /keel").out == "wet"
    assert engine.sampan(*run, "test -e /keel").code == 1


@pytest.mark.parametrize("storage", ["overlayfs", "vfs"])
def test_programs_find_the_marks_of_a_container(
    engine: Engine, shell: str, storage: str, name: str, tmp_path: Path
) -> None:
    look = "stat -c '%F %a' /.dockerenv && readlink /etc/mtab && grep -q ' / ' /etc/mtab"
    ran = engine.sampan("run", "--name", name, "--storage-driver", storage, shell, "sh", "-c", look)
    assert ran.out.splitlines() == ["regular empty file 755", "/proc/mounts"]
    assert engine.docker("diff", name).out == "", "they are no changes of the container's"
    new = engine.sampan("create", "--storage-driver", storage, shell, "true").out
    for container in (new, name):
        engine.docker("export", "-o", str(tmp_path / "all.tar"), container).ok()
        with tarfile.open(tmp_path / "all.tar") as tar:
            names = tar.getnames()
            assert {".dockerenv", "etc/mtab", "etc/hosts", "etc/hostname", "etc/resolv.conf"} <= set(names)
        engine.docker("cp", f"{container}:/etc/resolv.conf", str(tmp_path)).ok()
        assert engine.docker("diff", container).out == ""
        engine.docker("rm", container).ok()


@pytest.mark.parametrize(("flags", "code"), [(["true"], 0), (["sh", "-c", "exit 37"], 37)])
def test_the_exit_status_is_the_commands(cli: Cli, shell: str, flags: list[str], code: int) -> None:
    assert cli("run", "--rm", shell, *flags).code == code


def test_streams_are_kept_apart(cli: Cli, shell: str) -> None:
    done = cli("run", "--rm", shell, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_standard_input_arrives_whole(cli: Cli, shell: str) -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))
    assert cli("run", "--rm", "-i", shell, "cat", stdin=text).stdout == text


def test_environment_directory_and_user(cli: Cli, shell: str) -> None:
    done = cli(
        "run",
        "--rm",
        "-e",
        "CARGO=tea",
        "-w",
        "/tmp",
        "-u",
        "12:34",
        shell,
        "sh",
        "-c",
        "echo $CARGO; pwd; id -u; id -g",
    )
    assert done.out.split() == ["tea", "/tmp", "12", "34"]


def test_limits_are_the_kernels(cli: Cli, shell: str) -> None:
    read = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes;"
    read += "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max"
    done = cli("run", "--rm", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", shell, "sh", "-c", read)
    assert done.out.split() == [str(64 << 20), "50"]


def test_capabilities_and_masks_are_dockers(cli: Cli, shell: str) -> None:
    done = cli(
        "run",
        "--rm",
        shell,
        "sh",
        "-c",
        "grep CapEff /proc/self/status; wc -c < /proc/kcore; echo x > /proc/sys/kernel/panic",
    )
    assert "00000000a80425fb" in done.stdout
    assert done.code != 0
    assert re.search("read-only", done.stderr, re.IGNORECASE)


def test_the_life_of_a_detached_container(engine: Engine, cli: Cli, shell: str, name: str, nothing_left: None) -> None:
    script = "trap 'exit 7' TERM; echo hello; while :; do sleep 0.05; done"
    ident = cli("run", "-d", "--name", name, shell, "sh", "-c", script).out
    assert re.fullmatch("[0-9a-f]{64}", ident)
    assert name in cli("ps").out
    assert ident[:12] in cli("ps", "-q").out
    engine.wait_until(lambda: cli("logs", name).out == "hello", "the log has the greeting")
    [told] = json.loads(cli("inspect", name).out)
    assert (told["Id"], told["State"]["Running"], told["Name"]) == (ident, True, f"/{name}")
    assert cli("exec", name, "cat", "/proc/1/comm").out in ("sh", "dash", "busybox")
    assert cli("exec", name, "sh", "-c", "exit 9").code == 9
    assert cli("kill", "-s", "TERM", name).out == name
    assert cli("wait", name).out == "7"
    assert name not in cli("ps").out
    assert name in cli("ps", "-a").out
    assert cli("start", name).out == name
    assert cli("kill", name).out == name
    assert cli("wait", name).out == "137"
    assert cli("rm", name).out == name
    assert cli("inspect", name).code == 1


def test_stop_is_gentle_then_firm(cli: Cli, shell: str, name: str) -> None:
    cli("run", "-d", "--name", name, shell, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done").ok()
    assert cli("stop", "-t", "1", name).out == name
    assert cli("wait", name).out == "137"
    cli("rm", name).ok()


def test_a_name_is_free_again_after_rm(cli: Cli, shell: str, name: str) -> None:
    for _ in range(2):
        cli("run", "-d", "--name", name, shell, "sleep", "1000").ok()
        cli("rm", "-f", name).ok()


def test_logs_can_be_followed(engine: Engine, docker_cli: str, shell: str, name: str) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.2; done"
    engine.docker("run", "-d", "--name", name, shell, "sh", "-c", script).ok()
    assert engine.docker("logs", "-f", name).out.split() == ["1", "2", "3"]
    engine.docker("rm", name).ok()


def test_a_terminal_is_a_terminal(engine: Engine, cli: Cli, shell: str) -> None:
    done = cli("create", "-t", "--name", f"tty-{uuid.uuid4().hex[:6]}", shell, "sh", "-c", "tty && stty size")
    ident = done.out
    cli("start", ident).ok()
    cli("wait", ident).ok()
    assert cli("logs", ident).stdout.startswith("/dev/")
    cli("rm", ident).ok()


def test_images_come_in_by_import_and_load(engine: Engine, cli: Cli, shell: str, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        add(tar, "etc/motto", b"float\n")
    tag = f"plain-{uuid.uuid4().hex[:6]}:1"
    assert cli("import", archive, tag).out.startswith("sha256:")
    assert tag.partition(":")[0] in cli("images").out
    saved = tmp_path / "shell.tar"
    cli("save", "-o", saved, shell).ok()
    assert "Loaded image" in cli("load", "-i", saved).out
    assert cli("run", "--rm", shell, "true").code == 0
    assert "Untagged" in cli("rmi", tag).out
    assert cli("inspect", tag).code == 1


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, BytesIO(data))


def test_networks_are_listed_made_and_removed(cli: Cli, name: str, nothing_left: None) -> None:
    assert {"bridge", "host", "none"} <= set(cli("network", "ls", "--format", "{{.Name}}").out.split())
    assert re.fullmatch("[0-9a-f]{64}", cli("network", "create", name).out)
    assert cli("network", "rm", name).out == name
    assert name not in cli("network", "ls").out


def test_the_drivers_are_listed(engine: Engine) -> None:
    told = json.loads(engine.sampan("drivers", "--format", "json").out)
    defaults = {(one["family"], one["name"]) for one in told if one["default"]}
    assert defaults == {("storage", "overlayfs"), ("network", "bridge"), ("runtime", runtimes.chosen())}
    assert "native" in engine.sampan("drivers").out
