"""The machine's own troubles: a reboot, a full disk, directories that vanish, others' hands in links and firewall."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Engine, survey
from harness.leftovers import processes

pytestmark = pytest.mark.root

IMAGE = "small:latest"
SAMPAN = [sys.executable, "-m", "sampan.cli"]
SERVE = ["sh", "-c", "echo aboard >/tmp/index.html; exec busybox httpd -f -p 80 -h /tmp"]
New = Callable[..., Engine]


def small(engine: Engine) -> Engine:
    engine.sampan("image", "from-host", "-t", IMAGE, "busybox", "sh", "sleep").ok()
    return engine


def vanish(path: Path) -> None:
    """Remove a directory, and it does not matter that others are at work in it."""
    while path.exists():
        shutil.rmtree(path, ignore_errors=True)


def get(engine: Engine, port: int = 8080) -> str:
    """What a published port answers."""
    url = f"http://127.0.0.1:{port}/"
    return engine.run("busybox", "timeout", "2", "busybox", "wget", "-q", "-O", "-", url).stdout.strip()


def state(engine: Engine, name: str) -> dict[str, Any]:
    return dict(engine.api("GET", f"/containers/{name}/json")[1]["State"])


def one_sentence(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


# ── a reboot ─────────────────────────────────────────────────────────────────────────────────────────────────────


def power_off(engine: Engine) -> None:
    """All that only the kernel has is gone, and what lies in the exec root."""
    engine.kill()
    found = survey(engine.root, engine.net, engine.instance)
    sandboxes = [Path(path) for path in found.namespaces]
    for pid in processes(engine.net, sandboxes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    engine.wait_until(lambda: not processes(engine.net, sandboxes), "all processes have ended")
    for path in (*sandboxes, *sorted(found.mounts - set(map(str, sandboxes)), reverse=True)):
        subprocess.run(["umount", "--lazy", path], check=True)
    for path in map(Path, sorted(found.cgroups, reverse=True)):
        engine.wait_until(lambda path=path: not path.exists() or emptied(path), f"nobody is in {path}")
    for link in found.links - {"lo", "up0"}:
        engine.run("ip", "link", "delete", link)
    engine.run("nft", "flush", "ruleset").ok()
    shutil.rmtree(engine.root / "exec")


def emptied(path: Path) -> bool:
    """A group is busy for a moment after its last process has gone, and an ``lxc-start`` makes one more to end in."""
    with contextlib.suppress(OSError):
        for below in (*path.iterdir(), path):
            if below.is_dir():
                below.rmdir()
    return not path.exists()


def test_after_a_reboot_containers_are_exited_and_start_again(new_engine: New) -> None:
    engine = small(new_engine())
    engine.sampan("network", "create", "sea").ok()
    engine.sampan("run", "-d", "--name", "boat", "--network", "sea", "-p", "8080:80", IMAGE, *SERVE).ok()
    engine.sampan("run", "-d", "--name", "paused", "--network", "none", IMAGE, "sleep", "1000").ok()
    engine.sampan("pause", "paused").ok()
    engine.sampan("run", "-d", "--name", "passing", "--rm", IMAGE, "sleep", "1000").ok()
    engine.sampan("run", "-d", "--name", "faithful", "--restart", "always", IMAGE, "sleep", "1000").ok()
    engine.sampan("create", "--name", "new", IMAGE, "true").ok()
    engine.sampan("unpause", "paused").ok()  # a frozen process cannot be killed on cgroup v1
    power_off(engine)
    engine.start()
    for name in ("boat", "paused"):
        told = state(engine, name)
        assert (told["Status"], told["Pid"], told["Running"], told["Paused"]) == ("exited", 0, False, False)
    assert state(engine, "new")["Status"] == "created"
    assert engine.api("GET", "/containers/passing/json")[0] == 404
    engine.wait_until(lambda: state(engine, "faithful")["Running"], "its policy starts it")
    assert not get(engine)
    engine.sampan("start", "boat", "paused", "new").ok()
    engine.wait_until(lambda: get(engine) == "aboard", "the port answers")
    engine.sampan("network", "inspect", "sea").ok()


def test_after_a_reboot_who_is_joined_is_started_before_who_joins(new_engine: New) -> None:
    engine = small(new_engine())
    always = ("run", "-d", "--restart", "always")
    engine.sampan(*always, "--name", "boat", "--ipc", "shareable", IMAGE, "sleep", "1000").ok()
    joins = [word for flag in ("--network", "--pid", "--ipc") for word in (flag, "container:boat")]
    names = [f"crew{number}" for number in range(4)]
    for name in names:
        engine.sampan(*always, "--name", name, *joins, IMAGE, "sleep", "1000").ok()
    power_off(engine)
    engine.start()
    for name in ("boat", *names):
        engine.wait_until(lambda name=name: state(engine, name)["Pid"], f"{name} is started")  # type: ignore[misc]
    init = state(engine, "boat")["Pid"]
    for kind in ("net", "pid", "ipc"):
        spaces = {Path(f"/proc/{state(engine, name)['Pid']}/ns/{kind}").readlink() for name in names}
        assert spaces == {Path(f"/proc/{init}/ns/{kind}").readlink()}


# ── no space ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose data root is a file system of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    try:
        engine = Engine(data_root=str(disk))
        (engine.root / "data").symlink_to(disk)
        with engine:
            yield small(engine)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return ballast


def test_a_full_disk(cramped: Engine) -> None:
    engine = cramped
    engine.sampan("run", "-d", "--name", "boat", "-p", "8080:80", IMAGE, *SERVE).ok()
    engine.sampan("run", "-d", "--name", "chatty", IMAGE, "sh", "-c", "while :; do echo words; sleep 0.01; done").ok()
    engine.sampan("run", "-d", "--name", "passing", "--rm", IMAGE, "sleep", "1000").ok()
    engine.sampan("create", "--name", "waiting", IMAGE, "true").ok()
    engine.sampan("save", "-o", engine.root / "image.tar", IMAGE).ok()
    before = engine.leftovers()
    ballast = fill(engine.root / "data")

    for _ in range(30):  # the database has some room of its own left
        refused = engine.sampan("run", "--rm", "--name", "late", IMAGE, "true")
        if refused.code:
            break
    for command in (
        ["run", "--rm", "--name", "late", IMAGE, "true"],
        ["create", "--name", "late", IMAGE, "true"],
        ["network", "create", "sea"],
        ["image", "from-host", "-t", "other", "busybox", "ls", "cat"],
    ):
        refused = engine.sampan(*command)
        assert refused.code in (1, 125), (command, refused)
        assert one_sentence(refused.stderr), (command, refused.stderr)
        assert "space" in refused.stderr, (command, refused.stderr)
    assert engine.sampan("exec", "boat", "echo", "still here").out == "still here"
    assert engine.sampan("stop", "-t", "0", "boat").code == 0
    assert engine.sampan("stop", "-t", "0", "passing").code == 0
    assert state(engine, "boat")["ExitCode"] == 137

    ballast.unlink()
    engine.wait_until(lambda: engine.api("GET", "/containers/passing/json")[0] == 404, "it is removed")
    assert engine.sampan("run", "--rm", "--name", "late", IMAGE, "echo", "aboard").out == "aboard"
    engine.sampan("start", "boat", "waiting").ok()
    engine.wait_until(lambda: get(engine) == "aboard", "the port answers")
    engine.sampan("load", "-i", engine.root / "image.tar").ok()
    engine.sampan("rm", "-f", "chatty", "waiting").ok()
    files = {path for path in engine.leftovers().beyond(before).get("files", []) if "/boat" not in path}
    assert not [path for path in files if "ingest/" in path or "/begun/" in path or "/making/" in path], files


def test_the_end_that_could_not_be_written_down_is_known_to_the_next_daemon(cramped: Engine) -> None:
    engine = cramped
    engine.sampan(
        "run", "-d", "--name", "boat", IMAGE, "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"
    ).ok()
    ballast = fill(engine.root / "data")
    for number in range(200):  # until the database has no room of its own left either
        if engine.api("POST", f"/containers/boat/rename?name=boat{number}")[0] != 204:
            break
    name = f"boat{number - 1}" if number else "boat"
    engine.sampan("stop", name).ok()
    assert state(engine, name)["ExitCode"] == 9
    assert "could not be written down" in engine.log, "the disk was not full enough"
    engine.kill()
    ballast.unlink()
    engine.start()
    assert (state(engine, name)["Status"], state(engine, name)["ExitCode"]) == ("exited", 9)


# ── directories that vanish, daemons that are told to stop ───────────────────────────────────────────────────────


def test_the_exec_root_vanishes(new_engine: New) -> None:
    engine = small(new_engine())
    engine.sampan("run", "--rm", IMAGE, "true").ok()
    vanish(engine.root / "exec")
    done = engine.sampan("run", "--rm", IMAGE, "echo", "aboard")
    assert done.stdout.strip() == "aboard" if done.code == 0 else one_sentence(done.stderr), done
    engine.stop()
    engine.start()
    assert engine.sampan("run", "--rm", IMAGE, "echo", "aboard").out == "aboard"


def test_told_to_stop_while_it_answers(new_engine: New) -> None:
    engine = small(new_engine())
    stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    engine.sampan("run", "-d", "--name", "boat", "-p", "8080:80", IMAGE, *SERVE).ok()
    engine.sampan("run", "-d", "--name", "stubborn", IMAGE, *stubborn).ok()
    waiting = [
        engine.popen(*SAMPAN, *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for command in (
            ["logs", "-f", "boat"],
            ["wait", "boat"],
            ["attach", "--sig-proxy=false", "boat"],
            ["stop", "-t", "300", "stubborn"],
            ["exec", "boat", "sleep", "1000"],
        )
    ]
    engine.wait_until(lambda: engine.log.count("/exec/") >= 1, "the last of them is there")
    begun = time.monotonic()
    engine.stop()
    assert time.monotonic() - begun < 25, "a daemon that is told to stop ends within the grace of requests"
    for each in waiting:
        each.communicate(timeout=10)
    assert get(engine) == "aboard"
    engine.start()
    assert state(engine, "stubborn")["Running"]


def test_a_daemon_that_is_killed_in_a_storm_of_requests(new_engine: New) -> None:
    engine = small(new_engine())
    engine.sampan("run", "--rm", "-p", "8080:80", IMAGE, "true").ok()
    engine.wait_until(lambda: engine.leftovers().links == {"lo", "up0", engine.bridge}, "the last links are gone")
    owned = engine.leftovers()

    def storm() -> None:
        with contextlib.suppress(Exception):
            while True:
                body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"AutoRemove": True}}
                ident = engine.api("POST", "/containers/create", body)[1]["Id"]
                engine.api("POST", f"/containers/{ident}/start")

    for pause in (0.3, 0.45):
        threads = [threading.Thread(target=storm) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(pause)
        engine.kill()
        for thread in threads:
            thread.join(30)
        engine.start()
        engine.remove_containers()
        engine.wait_until(lambda: not engine.leftovers().beyond(owned).keys() - {"processes"}, "nothing is left")


# ── others' hands ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_daemon_mends_firewall_bridge_and_links(new_engine: New) -> None:
    engine = small(new_engine())
    ident = engine.sampan("run", "-d", "--name", "boat", "-p", "8080:80", IMAGE, *SERVE).out
    engine.wait_until(lambda: get(engine) == "aboard", "the port answers")

    def links() -> set[str]:
        return set(engine.leftovers().links)

    [veth] = links() - {"lo", "up0", engine.bridge}
    for name, harm in {
        "the rules": ["nft", "flush", "ruleset"],
        "the bridge": ["ip", "link", "delete", engine.bridge],
        "its link": ["ip", "link", "delete", veth],
    }.items():
        engine.kill()  # it would not stand by while rules are flushed
        engine.run(*harm).ok()
        assert not get(engine), f"{name} is gone, and the port answers"
        engine.start()
        engine.wait_until(lambda: get(engine) == "aboard", f"{name} is mended")
        pid = state(engine, ident)["Pid"]
        out = engine.run("nsenter", "-t", str(pid), "-n", "busybox", "ping", "-c1", "-W5", "192.0.2.1")
        assert out.code == 0, f"the way out is not mended after {name}: {out}"


def test_two_engines_leave_each_other_alone(new_engine: New) -> None:
    """On one host, with everything of their own but the kernel."""
    one = small(new_engine())
    other = Engine()
    other.net = one.net
    try:
        other.start()
        small(other)
        for engine, port in ((one, "8080"), (other, "8081")):
            engine.sampan("run", "-d", "--name", "boat", "-p", f"{port}:80", IMAGE, *SERVE).ok()
        for engine, port in ((one, 8080), (other, 8081)):
            engine.wait_until(lambda engine=engine, port=port: get(engine, port) == "aboard", "it answers")  # type: ignore[misc]
        for each in (one, other):
            each.kill()
            each.start()
            assert (get(one, 8080), get(other, 8081)) == ("aboard", "aboard")
        other.sampan("rm", "-f", "boat").ok()
        other.stop()
        assert get(one, 8080) == "aboard"
        assert one.sampan("exec", "boat", "echo", "still here").out == "still here"
        one.sampan("run", "--rm", "-p", "8081:80", IMAGE, "true").ok()
    finally:
        other.kill()
        for sandbox in (other.root / "exec" / "netns").glob("*"):
            subprocess.run(["umount", "--lazy", sandbox], check=False)
        shutil.rmtree(other.root, ignore_errors=True)
