"""Volumes and mounts, through the unchanged docker CLI and through our own, against a real engine."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]
TMPFS = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=755")


@pytest.fixture
def name() -> str:
    return f"cargo-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def no_volumes(engine: Engine) -> Iterator[None]:
    """Each test begins and ends without containers and volumes."""
    yield
    engine.remove_containers()
    for volume in engine.api("GET", "/volumes")[1]["Volumes"]:
        assert engine.api("DELETE", f"/volumes/{volume['Name']}")[0] == 204


def volumes(engine: Engine) -> list[str]:
    return [volume["Name"] for volume in engine.api("GET", "/volumes")[1]["Volumes"]]


def mounted(path: Path) -> bool:
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


def home(engine: Engine, name: str) -> Path:
    return engine.root / "data/volumes" / name / "_data"


def test_create_ls_inspect_rm(engine: Engine, cli: Cli, name: str) -> None:
    assert cli("volume", "create", "--label", "a=b", name).out == name
    assert (
        cli("volume", "ls", "--format", '{{.Name}} {{.Driver}} {{.Label "a"}}', "-f", "label=a=b").out
        == f"{name} local b"
    )
    [told] = json.loads(cli("volume", "inspect", name).out)
    assert (told["Name"], told["Mountpoint"], told["Labels"]) == (name, str(home(engine, name)), {"a": "b"})
    assert cli("volume", "ls", "-q", "-f", "name=nothing").out == ""
    assert cli("volume", "rm", name).out == name
    gone = cli("volume", "rm", name)
    assert (gone.code, f"get {name}: no such volume" in gone.stderr) == (1, True)
    assert cli("volume", "rm", "-f", name).code == 0
    assert "includes invalid characters" in cli("volume", "create", "a/b").stderr
    assert 'plugin "cloud" not found' in cli("volume", "create", "-d", "cloud", name).stderr


def test_what_is_written_stays(cli: Cli, shell: str, name: str) -> None:
    cli("run", "--rm", "-v", f"{name}:/data", shell, "sh", "-c", "echo tea > /data/chest").ok()
    assert cli("run", "--rm", "--mount", f"src={name},dst=/else", shell, "cat", "/else/chest").out == "tea"
    refused = cli("run", "--rm", "-v", f"{name}:/data:ro", shell, "touch", "/data/x")
    assert "Read-only file system" in refused.stderr


@pytest.mark.parametrize("storage", ["overlayfs", "vfs"])
def test_any_storage_can_fill_it(engine: Engine, shell: str, name: str, storage: str) -> None:
    run = ("run", "--rm", "--storage-driver", storage, "-v", f"{name}:/etc")
    assert "root" in engine.sampan(*run, shell, "cat", "/etc/passwd").out
    assert (home(engine, name) / "passwd").exists()


def test_it_begins_with_what_the_image_has(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    inside = cli("run", "--rm", shell, "sh", "-c", "cd /etc; find . | sort; stat -c '%a %u %g' .").out
    look = ("sh", "-c", "cd /data; find . | sort; stat -c '%a %u %g' .")
    cli("create", "--name", name, "-v", f"{name}:/etc", shell, "true").ok()
    assert set(cli("run", "--rm", "-v", f"{name}:/data", shell, *look).out.split()) <= set(inside.split())
    assert (home(engine, name) / "passwd").exists()
    cli("run", "--rm", "-v", f"{name}-no:/etc:nocopy", shell, "true").ok()
    assert not (home(engine, f"{name}-no") / "passwd").exists()
    cli("run", "--rm", "--mount", f"src={name}-not,dst=/etc,volume-nocopy", shell, "true").ok()
    assert not (home(engine, f"{name}-not") / "passwd").exists()
    assert "file exists /etc/passwd" in cli("run", "--rm", "-v", f"{name}:/etc/passwd", shell, "true").stderr


def test_a_read_only_volume_on_etc(cli: Cli, shell: str, name: str) -> None:
    """The engine's own files go where there is something to mount them on."""
    assert "root" in cli("run", "--rm", "-v", f"{name}:/etc:ro", shell, "cat", "/etc/passwd").out


def test_anonymous_ones_go_with_their_container(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    both = ("-v", "/anonymous", "-v", f"{name}:/named", "--mount", "dst=/more")
    cli("run", "--rm", *both, shell, "true").ok()
    engine.wait_until(lambda: volumes(engine) == [name], "--rm removes the anonymous ones")
    cli("run", "--name", name, *both, shell, "true").ok()
    assert len(volumes(engine)) == 3
    cli("rm", "-v", name).ok()
    assert volumes(engine) == [name]
    cli("run", "--name", name, *both, shell, "true").ok()
    cli("rm", name).ok()
    assert len(volumes(engine)) == 3
    pruned = cli("volume", "prune", "-f").out
    assert volumes(engine) == [name]
    assert "Deleted Volumes:" in pruned
    assert "Total reclaimed space: 0B" in pruned
    cli("volume", "prune", "-f", "-a").ok()
    assert volumes(engine) == []


def test_in_use(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    ident = cli("create", "--name", name, "-v", f"{name}:/data", shell, "true").out
    refused = cli("volume", "rm", name)
    assert f"remove {name}: volume is in use - [{ident}]" in refused.stderr
    assert refused.code == 1
    assert engine.api("DELETE", f"/volumes/{name}?force=true")[0] == 409
    assert cli("volume", "ls", "-q", "-f", "dangling=false").out == name
    assert cli("volume", "ls", "-q", "-f", "dangling=true").out == ""
    assert name in cli("ps", "-a", "--filter", f"volume={name}").out
    cli("rm", name).ok()
    assert cli("volume", "ls", "-q", "-f", "dangling=true").out == name


def test_volumes_from(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    (engine.root / "bound").mkdir(exist_ok=True)
    bound = ("-v", f"{engine.root}/bound:/bound", "--tmpfs", "/temporary")
    cli("create", "--name", name, "-v", "/anonymous", "-v", f"{name}:/named", *bound, shell, "true").ok()
    run = ("run", "--rm", "--volumes-from")
    cli(*run, name, shell, "sh", "-c", "touch /anonymous/a /named/n /bound/b && ! grep temporary /proc/mounts").ok()
    seen = cli(*run, f"{name}:ro", shell, "sh", "-c", "ls /anonymous /named /bound; touch /named/x")
    assert {"a", "n", "b"} <= set(seen.stdout.split())
    assert "Read-only file system" in seen.stderr
    assert len(volumes(engine)) == 2, "another's anonymous volume stays while that one is there"
    cli("rm", "-v", name).ok()
    assert volumes(engine) == [name]
    assert "No such container: nobody" in cli(*run, "nobody", shell, "true").stderr


def test_inspect_tells_all(engine: Engine, shell: str, name: str) -> None:
    words = ("-v", f"{name}:/named:ro", "-v", "/anonymous", "--mount", "type=tmpfs,dst=/temporary,tmpfs-size=1m")
    engine.docker("create", "--name", name, *words, "-v", "/usr:/bound", "--tmpfs", "/other", shell, "true").ok()
    told = engine.api("GET", f"/containers/{name}/json")[1]
    mounts = {mount["Destination"]: mount for mount in told["Mounts"]}
    assert set(mounts) == {"/named", "/anonymous", "/temporary", "/bound"}
    assert mounts["/named"] == {
        "Type": "volume",
        "Name": name,
        "Source": str(home(engine, name)),
        "Destination": "/named",
        "Driver": "local",
        "Mode": "ro",
        "RW": False,
        "Propagation": "",
    }
    assert (mounts["/bound"]["Mode"], mounts["/bound"]["Propagation"]) == ("", "rprivate")
    assert told["Config"]["Volumes"] == {"/anonymous": {}}
    assert set(told["HostConfig"]["Binds"]) == {f"{name}:/named:ro", "/usr:/bound"}  # docker itself shuffles them
    assert told["HostConfig"]["Mounts"] == [
        {"Type": "tmpfs", "Target": "/temporary", "TmpfsOptions": {"SizeBytes": 1 << 20}}
    ]


def test_an_images_volumes(engine: Engine, shell: str, name: str) -> None:
    tree = engine.root / "empty.tar"
    engine.run("tar", "-cf", tree, "-T", "/dev/null").ok()
    change = ("--change", 'VOLUME ["/etc", "/data"]', "--change", 'CMD ["x"]')
    made = engine.sampan("import", *change, tree, f"{name}:latest")
    if made.code:
        pytest.skip(f"images cannot be imported with volumes: {made.stderr}")
    engine.docker("create", "--name", name, "-v", "mine:/data", f"{name}:latest").ok()
    told = engine.api("GET", f"/containers/{name}/json")[1]
    names = {mount["Destination"]: mount["Name"] for mount in told["Mounts"]}
    assert names["/data"] == "mine"
    assert len(names["/etc"]) == 64
    assert set(told["Config"]["Volumes"]) == {"/etc", "/data"}
    engine.docker("rm", "-v", name).ok()
    assert volumes(engine) == ["mine"]


def test_a_device(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    cli("volume", "create", *TMPFS, name).ok()
    data = home(engine, name)
    for container in ("one", "two"):
        cli("run", "-d", "--name", container, "-v", f"{name}:/deck", shell, "sleep", "1000").ok()
    cli("exec", "one", "sh", "-c", "echo tea > /deck/chest").ok()
    assert cli("exec", "two", "cat", "/deck/chest").out == "tea"
    engine.kill()
    engine.start()
    assert mounted(data)
    cli("rm", "-f", "one").ok()
    assert cli("exec", "two", "cat", "/deck/chest").out == "tea"
    cli("rm", "-f", "two").ok()
    engine.wait_until(lambda: not mounted(data), "the device is unmounted")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-v", "relative"], "absolute"),
        (["-v", "/a:/"], "destination can't be '/'"),
        (["-v", "/a:/b:colour"], "invalid mode: colour"),
        (["-v", "one:/b", "-v", "two:/b"], "Duplicate mount point: /b"),
        (["-v", "a b:/b"], "includes invalid characters for a local volume name"),
        (["--mount", "type=bind,src=/no/such,dst=/b"], "bind source path does not exist: /no/such"),
        (["--mount", "type=volume,dst=/b,ro"], "must not set ReadOnly mode when using anonymous volumes"),
        (["--mount", "type=volume,src=xx,dst=/b,volume-subpath=../y"], "subpath must be a relative path"),
        (["--mount", "type=volume,dst=/b,volume-subpath=y"], "must not set Subpath when using anonymous volumes"),
        (["--mount", "type=volume,src=xx,dst=/b,volume-driver=cloud"], 'plugin "cloud" not found'),
        (["--mount", "type=bind,src=/tmp,dst=/b,bind-propagation=odd"], "invalid propagation mode: odd"),
        (["--volume-driver", "cloud", "-v", "xx:/b"], 'plugin "cloud" not found'),
    ],
)
def test_refused_at_create(engine: Engine, cli: Cli, shell: str, words: list[str], sentence: str) -> None:
    done = cli("create", *words, shell, "true")
    assert done.code in (1, 125)
    assert sentence in done.stderr
    assert volumes(engine) == []


def test_a_part_of_a_volume(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    cli("run", "--rm", "-v", f"{name}:/data", shell, "sh", "-c", "mkdir /data/part; echo tea > /data/part/chest").ok()
    cli("run", "--rm", "-v", f"{name}:/data", shell, "ln", "-s", "/etc", "/data/out").ok()
    mount = ("run", "--rm", "--mount", f"src={name},dst=/here,volume-subpath=")
    assert cli(*mount[:-1], f"{mount[-1]}part", shell, "cat", "/here/chest").out == "tea"
    for path in ("missing", "out"):
        refused = cli(*mount[:-1], f"{mount[-1]}{path}", shell, "true")
        assert f"cannot access path '{path}' of volume {name}" in refused.stderr
        if path == "out":
            assert "path concatenation escapes the base directory" in refused.stderr
    cli("run", "--rm", "-v", f"{name}:/data", shell, "sh", "-c", "mkdir /data/empty; ln -s empty /data/to").ok()
    filled = cli("run", "--rm", "--mount", f"src={name},dst=/etc,volume-subpath=to", shell, "ls", "/etc").out
    assert "passwd" in filled
    assert cli("run", "--rm", "-v", f"{name}:/data", shell, "ls", "-A", "/data/empty").out == filled
    assert not list((engine.root / "exec/subpaths").iterdir())


@pytest.fixture
def nested(engine: Engine) -> Iterator[Path]:
    """A directory with a shared mount in it."""
    outer = engine.root / "outer"
    (outer / "inner").mkdir(parents=True, exist_ok=True)
    engine.run("mount", "-t", "tmpfs", "inner", outer / "inner").ok()
    engine.run("mount", "--make-shared", outer / "inner").ok()
    yield outer
    engine.run("umount", "--lazy", outer / "inner").ok()


@pytest.mark.parametrize(
    ("words", "writable"),
    [
        ("ro", False),
        ("ro,bind-recursive=enabled", False),
        ("ro,bind-recursive=writable", True),
        ("ro,bind-recursive=readonly,bind-propagation=rprivate", False),
    ],
)
def test_read_only_with_all_that_is_in_it(cli: Cli, shell: str, nested: Path, words: str, writable: bool) -> None:
    mount = ("run", "--rm", "--mount", f"type=bind,src={nested},dst=/b,{words}", shell)
    assert cli(*mount, "touch", "/b/x").code == 1
    assert (cli(*mount, "touch", "/b/inner/x").code == 0) is writable


def test_propagation(engine: Engine, cli: Cli, shell: str, nested: Path) -> None:
    bind = f"type=bind,src={nested}/inner,dst=/b,bind-propagation"
    ident = cli("run", "-d", "--mount", f"{bind}=rslave", shell, "sleep", "1000").out
    (nested / "inner/later").mkdir()
    engine.run("mount", "-t", "tmpfs", "later", nested / "inner/later").ok()
    try:
        assert "/b/later" in cli("exec", ident, "cat", "/proc/mounts").out
    finally:
        engine.run("umount", nested / "inner/later").ok()
    engine.run("mount", "--make-private", nested / "inner").ok()
    for kind, what in (("rshared", "a shared mount"), ("slave", "a shared or slave mount")):
        refused = cli("run", "--rm", "--mount", f"{bind}={kind}", shell, "true")
        assert f"but it is not {what}" in refused.stderr


def test_parents_come_before_what_lies_in_them(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    words = ("-v", f"{name}-2:/a/b/c", "--tmpfs", "/a", "-v", f"{name}-1:/a/b")
    cli("run", "--rm", *words, shell, "touch", "/a/0", "/a/b/1", "/a/b/c/2").ok()
    assert [path.name for path in home(engine, f"{name}-2").iterdir()] == ["2"]
    assert (home(engine, f"{name}-1") / "1").exists()


def test_a_missing_source_is_made_by_v_alone(engine: Engine, cli: Cli, shell: str, name: str) -> None:
    source = engine.root / name
    cli("run", "--rm", "-v", f"{source}:/b:z", shell, "touch", "/b/x").ok()
    assert (source / "x").exists()
    made = engine.root / f"{name}-2"
    cli("run", "--rm", "--mount", f"type=bind,src={made},dst=/b,consistency=cached", shell, "true")
    assert not made.exists()


def test_events_and_df(engine: Engine, shell: str, name: str) -> None:
    since = engine.run("date", "+%s").out
    engine.docker("run", "--rm", "-v", f"{name}:/data", shell, "sh", "-c", "head -c 65536 /dev/zero > /data/x").ok()
    [usage] = engine.api("GET", "/system/df?type=volume")[1]["Volumes"]
    assert usage["UsageData"] == {"RefCount": 0, "Size": 65536}
    assert "Local Volumes" in engine.docker("system", "df").out
    assert "65.5kB" in engine.sampan("system", "df").out
    engine.docker("volume", "prune", "-fa").ok()
    words = ("--since", since, "--until", str(int(since) + 3), "--filter", "type=volume", "--filter", f"volume={name}")
    told = engine.docker("events", *words, "--format", "{{.Action}}").out.split()
    assert sorted(told) == ["create", "destroy", "mount", "unmount"]


def test_removed_while_others_take_it(engine: Engine, shell: str, name: str) -> None:
    """Who takes a volume has it, whoever removes it at the same time."""
    body: dict[str, Any] = {"Image": shell, "Cmd": ["true"], "HostConfig": {"Binds": [f"{name}:/data"]}}
    made: list[str] = []
    over = threading.Event()

    def take() -> None:
        for _ in range(25):
            status, told = engine.api("POST", "/containers/create", body)
            assert status == 201, told
            made.append(told["Id"])
            if len(made) % 3 == 0:
                while made:
                    engine.api("DELETE", f"/containers/{made.pop()}")
        over.set()

    def remove() -> None:
        while not over.is_set():
            status, told = engine.api("DELETE", f"/volumes/{name}")
            assert status in (204, 404, 409), told

    threads = [threading.Thread(target=work) for work in (take, remove, remove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert over.is_set()
    assert made
    assert volumes(engine) == [name]
    assert home(engine, name).is_dir()


@pytest.mark.parametrize(
    "word",
    [
        "src=hold,dst=/a,ro,volume-nocopy,volume-label=a=b",
        'dst=/a,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,mode=700"',
        "type=bind,src=/usr,dst=/a,ro,bind-recursive=writable,bind-propagation=rprivate",
        "type=bind,src=/tmp,dst=/a,bind-recursive=disabled",
        "type=tmpfs,dst=/a,tmpfs-size=1m,tmpfs-mode=700",
    ],
)
def test_both_clients_mean_the_same(engine: Engine, shell: str, word: str) -> None:
    told = []
    for client in (engine.docker, engine.sampan):
        ident = client("create", "--mount", word, shell, "true").out
        [mount] = engine.api("GET", f"/containers/{ident}/json")[1]["HostConfig"]["Mounts"]
        if mount.get("VolumeOptions", {}).get("DriverConfig") == {}:  # docker's way of saying nothing
            del mount["VolumeOptions"]["DriverConfig"]
        told.append(mount)
        engine.docker("start", ident).ok()
    assert told[0] == told[1]
