"""Snapshots of containers' files, through our command line, against a real engine, on both storage drivers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Run = Callable[..., Result]

FILL = """mkdir -p /d/sub; echo one > /d/f; echo deep > /d/sub/g; ln -s /d/f /link; ln /d/f /d/hard; mknod /pipe p
chmod 2750 /d; chown 7:8 /d/sub/g; echo other >> /etc/group; rm -f /etc/passwd; rm -rf /bin/sub; echo ready > /ready"""
LATER = """echo two > /d/f; rm -r /d/sub /link; mkdir /link; echo in > /link/x; echo more > /more; rm /pipe
chmod 700 /d"""
LOOK = """cat /d/f /d/hard /d/sub/g; readlink /link; test -p /pipe && echo pipe; stat -c '%a %u:%g %h' /d /d/sub/g /d/f
tail -1 /etc/group; test -e /etc/passwd || echo gone; test -e /more || echo none; stat -c %a:%u:%g /"""


@pytest.fixture(scope="module")
def drivers(engine: Engine) -> list[str]:
    """The image's layers are unpacked for both of them."""
    names = ["overlayfs", "vfs"]
    for name in names:
        engine.sampan("run", "--rm", "--storage-driver", name, engine.image(), "true").ok()
    return names


@pytest.fixture(params=["overlayfs", "vfs"])
def boat(
    request: pytest.FixtureRequest, engine: Engine, shell: str, drivers: list[str], nothing_left: None
) -> Iterator[str]:
    name = f"boat-{uuid.uuid4().hex[:8]}"
    options = ["--storage-driver", request.param, "-e", "A=b", "--label", "who=me"]
    script = f"test -e /ready || {{ {FILL}; }}; exec sleep 1000"
    engine.sampan("run", "-d", "--name", name, *options, shell, "sh", "-c", script).ok()
    engine.wait_until(lambda: engine.sampan("exec", name, "test", "-e", "/ready").code == 0, "the files are there")
    yield name
    engine.sampan("rm", "-f", name).ok()


def looks(engine: Engine, name: str) -> str:
    return engine.sampan("exec", name, "sh", "-c", LOOK).ok().out


def test_there_and_back_again(engine: Engine, boat: str) -> None:
    run: Run = engine.sampan
    before, image_diff = looks(engine, boat), run("diff", boat).out
    assert run("snapshot", "create", "-m", "all is well", boat).out == "snapshot-1"
    assert run("inspect", "-f", "{{.State.Status}}", boat).out == "running"
    assert run("snapshot", "diff", boat, "snapshot-1").out == ""
    run("exec", boat, "sh", "-c", LATER).ok()
    after = looks(engine, boat)
    assert after != before
    changed = run("snapshot", "diff", boat, "snapshot-1").out.splitlines()
    assert changed == ["C /d", "C /d/f", "C /d/hard", "D /d/sub", "C /link", "A /link/x", "A /more", "D /pipe"]
    assert run("snapshot", "create", boat, "later").out == "later"
    refused = run("snapshot", "restore", boat, "later")
    assert (refused.code, "stop it before it goes back" in refused.stderr) == (1, True)
    run("kill", boat).ok()
    assert run("snapshot", "restore", boat, "snapshot-1").out == boat
    assert run("diff", boat).out == image_diff
    assert run("snapshot", "diff", boat, "later").out.splitlines()[0] == "C /d"
    run("start", boat).ok()
    assert looks(engine, boat) == before
    run("kill", boat).ok()
    run("snapshot", "restore", boat, "later").ok()
    assert run("snapshot", "diff", boat, "later").out == ""
    run("start", boat).ok()
    assert looks(engine, boat) == after
    reverse = run("snapshot", "diff", boat, "later", "snapshot-1").out.splitlines()
    assert reverse == [
        *("C /d", "C /d/f", "C /d/hard", "A /d/sub", "A /d/sub/g"),
        *("C /link", "D /link/x", "D /more", "A /pipe"),
    ]


def test_one_more_such_container(engine: Engine, boat: str) -> None:
    run: Run = engine.sampan
    before = looks(engine, boat)
    run("snapshot", "create", boat, "sane").ok()
    run("exec", boat, "sh", "-c", LATER).ok()
    twin = f"{boat}-twin"
    run("snapshot", "run", "--name", twin, boat, "sane").ok()
    assert looks(engine, twin) == before
    [one], [two] = (json.loads(run("inspect", name).out) for name in (boat, twin))
    assert two["Config"]["Env"] == one["Config"]["Env"]
    assert two["Config"]["Hostname"] == two["Id"][:12]
    assert two["Image"] == one["Image"]
    third = f"{boat}-third"
    label = f"sampan.snapshot={boat}@sane"
    engine.sampan("run", "-d", "--name", third, "--label", label, one["Config"]["Image"], "sleep", "1000").ok()
    assert looks(engine, third) == before
    run("rm", "-f", twin, third).ok()


@pytest.mark.parametrize("storage", ["overlayfs", "vfs"])
def test_limits_stay(engine: Engine, shell: str, drivers: list[str], nothing_left: None, storage: str) -> None:
    """A container with a quota has it after going back, and so has another one that begins there."""
    run: Run = engine.sampan
    name, fill = f"boat-{uuid.uuid4().hex[:8]}", "cat /f; dd if=/dev/zero of=/big bs=1M count=90 2>&1"
    limit = ["--storage-opt", "size=64M", "--storage-driver", storage]
    run("run", "-d", "--name", name, *limit, shell, "sh", "-c", "test -e /f || echo one >/f; exec sleep 1000").ok()
    engine.wait_until(lambda: run("exec", name, "test", "-s", "/f").code == 0, "the file is there")
    run("snapshot", "create", name).ok()
    run("exec", name, "sh", "-c", "echo two >/f").ok()
    assert run("snapshot", "diff", name, "snapshot-1").out == "C /f"
    run("kill", name).ok()
    run("snapshot", "restore", name, "snapshot-1").ok()
    run("start", name).ok()
    run("snapshot", "run", "--name", f"{name}-twin", name, "snapshot-1").ok()
    for each in (name, f"{name}-twin"):
        told = run("exec", each, "sh", "-c", fill)
        assert told.stdout.startswith("one\n")
        assert "No space left on device" in told.stdout
    run("rm", "-f", f"{name}-twin", name).ok()
    engine.wait_until(lambda: not list((engine.root / "data").rglob("disk")), "their disks go")


def test_what_a_restored_container_becomes(engine: Engine, boat: str) -> None:
    """It stands on its image's layers as before: commit and export know nothing of snapshots."""
    run: Run = engine.sampan
    run("kill", boat).ok()
    run("snapshot", "create", boat, "sane").ok()
    run("snapshot", "restore", boat, "sane").ok()
    run("commit", boat, "becalmed").ok()
    look = "cat /d/sub/g; test -e /etc/passwd || echo gone"
    assert run("run", "--rm", "becalmed", "sh", "-c", look).out == "deep\ngone"
    run("rmi", "becalmed").ok()


def test_snapshots_survive_the_daemon(engine: Engine, boat: str) -> None:
    run: Run = engine.sampan
    before = looks(engine, boat)
    run("snapshot", "create", boat, "sane").ok()
    run("exec", boat, "sh", "-c", LATER).ok()
    run("kill", boat).ok()
    run("snapshot", "restore", boat, "sane").ok()
    engine.kill()
    engine.start()
    assert run("snapshot", "ls", "-q", boat).out == "sane"
    run("start", boat).ok()
    assert looks(engine, boat) == before
    assert run("snapshot", "rm", boat, "sane").out == "sane"
    assert run("snapshot", "ls", "-q", boat).out == ""
    assert looks(engine, boat) == before


def test_lists(engine: Engine, boat: str) -> None:
    run: Run = engine.sampan
    run("snapshot", "create", "-m", "why", boat, "first").ok()
    run("snapshot", "create", boat, "second").ok()
    assert run("snapshot", "ls", "--format", "{{.Name}} {{.Comment}}", boat).out == "first why\nsecond "
    head, *rows = run("snapshot", "ls", boat).out.splitlines()
    assert head.split()[:3] == ["NAME", "SNAPSHOT", "ID"]
    assert [row.split()[0] for row in rows] == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create", "nobody"], "No such container: nobody"),
        (["create", "BOAT", "a/b"], "only [a-zA-Z0-9]"),
        (["create", "BOAT", "known"], 'has a snapshot "known" already'),
        (["rm", "BOAT", "other"], "No such snapshot"),
        (["diff", "BOAT", "other"], "No such snapshot"),
        (["restore", "BOAT", "known"], "is running: stop it before it goes back"),
        (["run", "BOAT", "other"], "No such snapshot"),
    ],
)
def test_refusals(engine: Engine, wide: str, words: list[str], told: str) -> None:
    done = engine.sampan("snapshot", *(word.replace("BOAT", wide) for word in words))
    assert done.code == 1
    assert told in done.stderr


@pytest.fixture(scope="module")
def wide(engine: Engine) -> Iterator[str]:
    name = f"wide-{uuid.uuid4().hex[:8]}"
    engine.sampan("run", "-d", "--name", name, engine.image(), "sleep", "1000").ok()
    engine.sampan("snapshot", "create", name, "known").ok()
    yield name
    engine.sampan("rm", "-f", name).ok()


def test_labels_that_mean_nothing(engine: Engine, wide: str, shell: str) -> None:
    for text, told in [
        ("x", "must be CONTAINER@SNAPSHOT"),
        ("nobody@x", "No such container: nobody"),
        (f"{wide}@x", "No such snapshot"),
    ]:
        done = engine.sampan("create", "--label", f"sampan.snapshot={text}", shell, "true")
        assert (done.code, told in done.stderr) == (1, True), done.stderr
