"""The packages in examples/ as their users have them: installed by pip, found, configured in YAML, run through the
kit, and used with real containers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from conftest import lacking
from harness import Engine
from harness.environment import Environment
from harness.net import OUTSIDE

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = ("storage-btrfs", "network-egress", "runtime-chroot")


SERVER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 8099))
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n")
    connection.close()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    for name in PACKAGES:
        project = tmp_path_factory.mktemp("project") / name  # a build leaves things where it works
        shutil.copytree(EXAMPLES / name, project, ignore=shutil.ignore_patterns("__pycache__"))
        made.install(project)
    return made


@pytest.fixture(scope="module")
def engine(environment: Environment) -> Iterator[Engine]:
    made = Engine(
        storage={"options": {"btrfs": {"gib": 2}}},
        network={"options": {"egress": {"allow": ["203.0.113.53"], "refresh": 1}}},
    )
    made.program = [str(environment.python), "-m", "sampan.cli"]
    with made as running:
        yield running


def drivers(engine: Engine) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(engine.sampan("drivers", "--format", "json").out)}


def needs_btrfs(engine: Engine) -> None:
    found = drivers(engine)["btrfs"]
    if not found["usable"]:
        lacking(found["reason"])


def test_they_are_found_and_usable(engine: Engine) -> None:
    found = drivers(engine)
    packages = {name: found[name]["package"] for name in ("btrfs", "egress", "chroot")}
    assert packages == {
        "btrfs": "sampan-storage-btrfs",
        "egress": "sampan-network-egress",
        "chroot": "sampan-runtime-chroot",
    }
    assert found["egress"]["usable"]
    assert found["chroot"]["usable"]
    assert "only its files are its own" in found["chroot"]["reason"]


@pytest.mark.parametrize("options", [{"gib": 0}, {"gibs": 2}])
def test_a_wrong_option_is_told_with_its_place(
    environment: Environment, tmp_path: Path, options: dict[str, int]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"storage": {"options": {"btrfs": options}}, "data_root": str(tmp_path / "data")}))
    done = environment.run("sampan.cli", "daemon", "--config-file", str(config), timeout=30)
    assert done.returncode != 0
    assert "storage.options.btrfs.gib" in done.stderr


@pytest.mark.parametrize(
    ("name", "some"),
    [("btrfs", "layer and not many"), ("egress", "list or restore or internal"), ("chroot", "files_only or exit_code")],
)
def test_they_go_through_the_kit(environment: Environment, engine: Engine, name: str, some: str) -> None:
    """Some of it here; the whole of it is ``sampan drivers test NAME``, or pytest in the package."""
    if name == "btrfs":
        needs_btrfs(engine)
    done = environment.run("sampan.cli", "drivers", "test", name, "--", "-k", some)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_their_own_tests_pass(environment: Environment) -> None:
    """Those that are not the kit's."""
    own = {
        "storage-btrfs": "subvolumes",
        "network-egress": "list_is or name_is or forgotten or cannot_be_allowed or and_nothing_else",
        "runtime-chroot": "does_not_isolate or volumes or copied",
    }
    for name in PACKAGES:
        done = environment.run("pytest", "-q", "-p", "no:cacheprovider", "-k", own[name], cwd=EXAMPLES / name)
        assert done.returncode == 0, done.stdout + done.stderr


def test_btrfs_holds_containers(engine: Engine) -> None:
    needs_btrfs(engine)
    image = engine.image()
    on_btrfs = ["--storage-driver", "btrfs"]
    engine.sampan("run", "-d", "--name", "boat", *on_btrfs, image, "sh", "-c", "echo mine >/file; sleep 1000").ok()
    engine.wait_until(lambda: engine.sampan("exec", "boat", "cat", "/file").stdout == "mine\n", "it has written")
    assert engine.sampan("inspect", "--format", "{{.Driver}}", "boat").out == "btrfs"
    assert engine.sampan("exec", "boat", "stat", "-f", "-c", "%T", "/").out in ("btrfs", "UNKNOWN")
    assert "A /file" in engine.sampan("diff", "boat").out
    engine.kill()
    engine.start()
    assert engine.sampan("exec", "boat", "cat", "/file").out == "mine"
    engine.sampan("stop", "-t", "0", "boat").ok()
    engine.sampan("start", "boat").ok()
    engine.sampan("rm", "-f", "boat").ok()


def test_egress_leads_to_what_is_on_the_list(engine: Engine) -> None:
    image = engine.image()
    get = ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{OUTSIDE}:8099/"]
    serve = [sys.executable, "-c", SERVER, OUTSIDE]
    server = engine.popen(*engine.net.enter(engine.net.outside), *serve, stdout=DEVNULL, stderr=DEVNULL)
    try:
        engine.wait_until(lambda: engine.run(*get).code == 0, "the server answers")
        engine.sampan("network", "create", "--driver", "egress", "-o", f"allow={OUTSIDE}", "listed").ok()
        engine.sampan("network", "create", "--driver", "egress", "closed").ok()
        assert engine.sampan("run", "--rm", "--network", "listed", image, *get).out == "hello"
        assert engine.sampan("run", "--rm", "--network", "closed", image, *get).code != 0
        engine.kill()
        engine.start()
        assert engine.sampan("run", "--rm", "--network", "closed", image, *get).code != 0
    finally:
        server.kill()
        server.wait()
        engine.sampan("network", "rm", "listed", "closed")
    done = engine.sampan("network", "create", "--driver", "egress", "-o", "allow=300.1.2.3", "wrong")
    assert "'300.1.2.3' cannot be allowed" in done.stderr


def test_chroot_runs_programs_and_says_what_it_is_not(engine: Engine) -> None:
    image = engine.image()
    chroot = ["--runtime", "chroot", "--network", "host"]
    done = engine.sampan("run", "--rm", *chroot, image, "sh", "-c", "echo from $(cat /etc/hostname); ls /")
    assert done.ok().stdout.startswith("from ")
    assert "boot" not in done.stdout.split()
    assert "isolates the file system of a container and nothing else" in done.stderr
    assert engine.sampan("run", "--rm", *chroot, image, "sh", "-c", "exit 7").code == 7
    for words, said in (
        (["--runtime", "chroot"], "use --network host"),
        ([*chroot, "-m", "64m"], "memory"),
        ([*chroot, "-v", "/tmp:/data"], "/data"),
        ([*chroot, "-t"], "terminal"),
    ):
        refused = engine.sampan("run", "--rm", *words, image, "true")
        assert refused.code == 125, words
        assert said in refused.stderr, refused.stderr


def test_a_container_under_chroot_lives_through_a_restart_of_the_daemon(engine: Engine) -> None:
    image = engine.image()
    engine.sampan(
        "run", "-d", "--name", "raft", "--runtime", "chroot", "--network", "host", image, "sleep", "1000"
    ).ok()
    engine.kill()
    engine.start()
    assert engine.sampan("exec", "raft", "echo", "afloat").out == "afloat"
    assert "sleep 1000" in engine.sampan("top", "raft").out
    refused = engine.sampan("pause", "raft")
    assert "cannot be frozen" in refused.stderr
    engine.sampan("stop", "-t", "0", "raft").ok()
    assert engine.sampan("inspect", "--format", "{{.State.ExitCode}}", "raft").out == "143"
    engine.sampan("rm", "raft").ok()
