"""Containers whose users are others on the host (``runtime.userns_remap``), through the unchanged docker CLI.

The numbers on disk and in ``/proc`` are looked at from outside; the container must see its own everywhere.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Engine, Result

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("user_namespaces"),
]

once = pytest.mark.parametrize("remapped", ["overlayfs"], indirect=True)
"""For what has nothing to do with storage."""

UID, GID = 300_000, 400_000
RANGES = {"subuid": f"nobody:{UID}:65536\n", "subgid": f"nobody:{GID}:65536\n"}


def ranges(directory: Path) -> dict[str, str]:
    """Settings of an engine that maps to the test's ids."""
    for name, text in RANGES.items():
        (directory / name).write_text(text)
    files = {"subuid_file": str(directory / "subuid"), "subgid_file": str(directory / "subgid")}
    return {"userns_remap": "nobody", **files}


@pytest.fixture(scope="module", params=["overlayfs", "vfs"])
def remapped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    runtime = ranges(tmp_path_factory.mktemp("ids"))
    with Engine(runtime=runtime, storage={"driver": request.param}) as engine:
        yield engine


@pytest.fixture(autouse=True)
def clean(remapped: Engine) -> Iterator[None]:
    """Each test begins and ends without containers and volumes, and leaves nothing."""
    remapped.image()
    before = remapped.leftovers()
    yield
    remapped.remove_containers()
    remapped.docker("volume", "prune", "-af").ok()
    remapped.docker("image", "prune", "-f").ok()
    mounted, spaces = before.mounts, before.namespaces
    now = remapped.leftovers()
    assert (now.mounts - mounted, now.namespaces - spaces) == (set(), set())


@pytest.fixture
def shell(remapped: Engine) -> str:
    return remapped.image()


def sh(engine: Engine, *args: object) -> Result:
    """``docker run --rm OPTIONS… IMAGE sh -c COMMAND``: the last argument is the command."""
    *options, command = args
    return engine.docker("run", "--rm", *options, engine.image(), "sh", "-c", command)


def running(engine: Engine, name: str, *options: object) -> int:
    """A container that does nothing; its init's pid."""
    engine.docker("run", "-d", "--name", name, *options, engine.image(), "sleep", "1000").ok()
    return int(engine.docker("inspect", "-f", "{{.State.Pid}}", name).out)


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def user_namespace(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/user").readlink())


def on_disk(engine: Engine, name: str) -> Path:
    """The one file of that name in a container's own part of the storage."""
    [found] = [path for path in engine.data.glob(f"storage/*/containers/**/{name}") if not path.is_symlink()]
    return found


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────────────


@once
def test_root_in_there_is_nobody_out_here(remapped: Engine) -> None:
    pid = running(remapped, "boat")
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(UID), "65536"]
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", str(GID), "65536"]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert (status["Uid"].split(), status["Gid"].split()) == ([str(UID)] * 4, [str(GID)] * 4)
    assert remapped.docker("exec", "boat", "id", "-u").out == "0"
    assert "name=userns" in json.loads(remapped.docker("info", "-f", "{{json .SecurityOptions}}").out)
    assert remapped.docker("info", "-f", "{{.DockerRootDir}}").out == f"{remapped.root}/data/{UID}.{GID}"


@once
def test_all_its_namespaces_belong_to_it(remapped: Engine) -> None:
    """What takes CAP_SYS_ADMIN or CAP_NET_ADMIN works where the container owns the thing, and nowhere else."""
    caps = ("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN")
    done = sh(remapped, *caps, "mount -t tmpfs x /mnt && hostname else && hostname && ip addr add 10.9.9.9/32 dev lo")
    assert done.out == "else"
    assert sh(remapped, *caps, "mount -t proc proc /mnt && ls /sys/class/net").out.split() == ["eth0", "lo"]
    assert (
        "ermission denied"
        in sh(remapped, *caps, "mount -o remount,rw /proc/sys; echo 1 > /proc/sys/vm/swappiness").stderr
    )


@once
def test_devices_terminals_and_queues(remapped: Engine) -> None:
    run = sh(
        remapped, "ls -n /dev/null /dev/urandom && head -c 3 /dev/zero | wc -c && ls -nd /dev/mqueue /dev/shm /dev/pts"
    )
    assert run.out.count("crw-rw-rw- 1 0 0") == 2
    assert "\n3\n" in run.out
    assert "ot permitted" in sh(remapped, "--cap-add", "MKNOD", "mknod /tmp/x c 1 3").stderr
    terminal = sh(remapped, "-t", "-u", "7", "stat -c '%u %g %n' $(tty) && tty").out
    assert "7 5 /dev/pts/0" in terminal
    fuse = sh(remapped, "--device", "/dev/null:/dev/deep/er", "stat -c '%u %t %T' /dev/deep/er && cat /dev/deep/er")
    assert fuse.out == "0 1 3"
    refused = sh(remapped, "--device", "/dev/null:/else", "true")
    assert (refused.code, "the device /else cannot be made" in refused.stderr) == (125, True)


@pytest.mark.parametrize("user", ["0", "7:8"])
@once
def test_its_streams_can_be_opened_again(remapped: Engine, user: str) -> None:
    said = sh(remapped, "-u", user, "echo out > /dev/stdout; echo err > /dev/stderr")
    assert (said.out, said.stderr) == ("out", "err\n")
    running(remapped, "boat")
    said = remapped.docker("exec", "-u", user, "boat", "sh", "-c", "echo out > /dev/stdout; id -u")
    assert said.out.split() == ["out", user.partition(":")[0]]


@once
def test_an_exec_is_in_it(remapped: Engine) -> None:
    pid = running(remapped, "boat")
    inside = remapped.docker("exec", "boat", "sh", "-c", "readlink /proc/self/ns/user; cat /proc/self/uid_map").out
    assert inside.split()[0] == user_namespace(pid)
    assert inside.split()[1:] == ["0", str(UID), "65536"]
    remapped.docker("exec", "-d", "-u", "5", "boat", "sleep", "777").ok()
    remapped.wait_until(lambda: str(UID + 5) in remapped.docker("top", "boat", "-eo", "pid,uid,args").out, "it runs")
    assert "ot permitted" in remapped.docker("exec", "--privileged", "boat", "mknod", "/x", "c", "1", "3").stderr


@once
def test_init_signals_and_limits(remapped: Engine) -> None:
    assert "sampan-init" in sh(remapped, "--init", "ps -ef").out
    assert sh(
        remapped, "-m", "64m", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    ).stdout.split() == ["67108864"]
    assert sh(remapped, "--ulimit", "nofile=100:200", "ulimit -n; ulimit -Hn").out.split() == ["100", "200"]
    assert sh(remapped, "--sysctl", "net.ipv4.ip_forward=0", "cat /proc/sys/net/ipv4/ip_forward").out == "0"
    running(remapped, "boat", "--init")
    assert remapped.docker("stop", "-t", "20", "boat", timeout=15).out == "boat"
    assert remapped.docker("inspect", "-f", "{{.State.ExitCode}}", "boat").out == "143"


def test_a_health_check_is_in_it(remapped: Engine) -> None:
    running(remapped, "boat", "--health-cmd", "test $(id -u) = 0 && touch /healthy-file", "--health-interval", "100ms")
    health = ("inspect", "-f", "{{.State.Health.Status}}", "boat")
    remapped.wait_until(lambda: remapped.docker(*health).out == "healthy", "it is healthy")
    assert owner(on_disk(remapped, "healthy-file")) == (UID, GID)


@once
def test_daemons_come_and_go(remapped: Engine) -> None:
    running(remapped, "boat", "-v", "cargo:/cargo")
    remapped.kill()
    remapped.start()
    assert remapped.docker("exec", "boat", "sh", "-c", "echo x > /cargo/x; id -u").out == "0"
    shared = remapped.docker("run", "--rm", "--network", "container:boat", remapped.image(), "ls", "/sys/class/net").out
    assert shared.split() == ["eth0", "lo"]
    remapped.docker("restart", "-t", "0", "boat").ok()
    assert remapped.docker("exec", "boat", "cat", "/cargo/x").out == "x"


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_are_the_container_s_on_disk(remapped: Engine) -> None:
    running(remapped, "boat", "-v", "cargo:/cargo", "-v", "/anonymous", "-v", "cargo2:/var/log")
    script = (
        "touch /tmp/mine-a /cargo/b /var/log/c && chown 5:6 /tmp/mine-a /cargo/b && stat -c '%u %g' /cargo /anonymous"
    )
    assert remapped.docker("exec", "boat", "sh", "-c", script).out.split() == ["0"] * 4
    assert owner(on_disk(remapped, "mine-a")) == (UID + 5, GID + 6)
    volumes = remapped.data / "volumes"
    assert owner(volumes / "cargo/_data") == (UID, GID)
    assert owner(volumes / "cargo/_data/b") == (UID + 5, GID + 6)
    assert owner(volumes / "cargo2/_data/c") == (UID, GID)  # what was copied up is right, too
    assert all(owner(path) == (UID, GID) for path in remapped.data.glob("storage/*/layers/*/tree/usr"))
    others = sh(remapped, "find / -xdev '(' -not -user 0 -o -not -group 0 ')'").out.split()
    assert set(others) == {"/proc", "/sys"}


def test_the_host_s_files_are_out_of_reach(remapped: Engine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "roots").write_text("tea\n")
    (tmp_path / "roots").chmod(0o644)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    bound = ("-v", f"{tmp_path}:/host")
    assert sh(remapped, *bound, "cat /host/roots; stat -c '%u %g' /host/roots").out.split() == ["tea", "65534", "65534"]
    for forbidden in (
        "echo x > /host/roots",
        "touch /host/new",
        "rm /host/roots",
        "chown 0 /host/roots",
        "cat /host/secret",
    ):
        refused = sh(remapped, "--cap-add", "ALL", *bound, forbidden)
        assert refused.code != 0, forbidden
        assert "ermi" in refused.stderr, forbidden
    assert (tmp_path / "roots").read_text() == "tea\n"
    made = tmp_path / "made"
    sh(remapped, "-v", f"{made}:/made", "touch /made/x").ok()
    assert owner(made) == owner(made / "x") == (UID, GID)


def test_copies_have_the_container_s_ids(remapped: Engine, tmp_path: Path) -> None:
    running(remapped, "boat")
    remapped.docker("exec", "boat", "sh", "-c", "mkdir /a && touch /a/f && chown 5:6 /a/f").ok()
    for path in ("/a/f", "/a"):
        told = subprocess.run(
            [*remapped.net.enter(remapped.net.inside), "docker", "cp", f"boat:{path}", "-"],
            env=remapped.environment(),
            capture_output=True,
            check=True,
        )
        with tarfile.open(fileobj=io.BytesIO(told.stdout)) as archive:
            assert {(each.uid, each.gid) for each in archive if each.isfile()} == {(5, 6)}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("coming-in")
        entry.uid, entry.gid = 7, 8
        tar.addfile(entry)
    remapped.docker("cp", "-", "boat:/a", stdin=archive.getvalue()).ok()
    assert remapped.docker("exec", "boat", "stat", "-c", "%u %g", "/a/coming-in").out == "7 8"
    assert owner(on_disk(remapped, "coming-in")) == (UID + 7, GID + 8)
    (tmp_path / "file").touch()
    remapped.docker("cp", "-a", str(tmp_path / "file"), "boat:/a").ok()
    assert remapped.docker("exec", "boat", "stat", "-c", "%u", "/a/file").out == "0"


def test_a_file_s_powers_count_in_there(remapped: Engine) -> None:
    """Capabilities and set-user-id bits of files, as they come in, and as an image takes them on."""
    net_raw = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # linux/capability.h, struct vfs_cap_data
    program = Path(str(shutil.which("grep"))).read_bytes()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode, headers in (
            ("able", 0o755, {"SCHILY.xattr.security.capability": net_raw.decode()}),
            ("suid", 0o4755, {}),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.pax_headers = len(program), mode, headers
            tar.addfile(entry, io.BytesIO(program))
    running(remapped, "boat")
    remapped.docker("cp", "-", "boat:/mnt", stdin=archive.getvalue()).ok()
    remapped.docker("commit", "boat", "able").ok()
    able, suid = ("/mnt/able", "CapEff", "/proc/self/status"), ("/mnt/suid", "^Uid", "/proc/self/status")
    for run in (("exec", "-u", "5", "boat"), ("run", "--rm", "-u", "5", "able")):
        assert remapped.docker(*run, *able).out.split()[1] == f"{1 << 13:016x}"
        assert remapped.docker(*run, *suid).out.split()[1:] == ["5", "0", "0", "0"]
    remapped.docker("rmi", "able").ok()


def test_diff_commit_export_import(remapped: Engine) -> None:
    running(remapped, "boat")
    script = "mkdir /new && touch /new/f && chown 5:6 /new/f && rm /etc/nsswitch.conf"
    remapped.docker("exec", "boat", "sh", "-c", script).ok()
    changed = remapped.docker("diff", "boat").out.splitlines()
    assert {"A /new/f", "D /etc/nsswitch.conf"} <= set(changed)
    look = "stat -c '%u %g' /new/f /new / && test ! -e /etc/nsswitch.conf"
    remapped.docker("commit", "boat", "committed").ok()
    assert remapped.docker("run", "--rm", "committed", "sh", "-c", look).out.split() == ["5", "6", "0", "0", "0", "0"]
    exported = remapped.root / "exported.tar"
    remapped.docker("export", "-o", str(exported), "boat").ok()
    with tarfile.open(exported) as archive:
        assert {(each.uid, each.gid) for each in archive} == {(0, 0), (5, 6)}
    remapped.docker("import", str(exported), "imported").ok()
    assert remapped.docker("run", "--rm", "imported", "sh", "-c", look).out.split() == ["5", "6", "0", "0", "0", "0"]
    remapped.docker("rmi", "committed", "imported").ok()
    exported.unlink()


def test_a_root_of_its_own(remapped: Engine) -> None:
    """An image without layers, and one with a limit: the root directory is the container's."""
    shell = remapped.image()
    if "overlayfs" in remapped.docker("info", "-f", "{{.Driver}}").out:
        limited = remapped.docker(
            "run", "--rm", "--storage-opt", "size=64m", shell, "sh", "-c", "touch /x && stat -c %u / /x"
        )
        assert limited.out.split() == ["0", "0"]
    assert sh(remapped, "--read-only", "--tmpfs", "/t", "touch /t/x && stat -c %u /t /t/x").out.split() == ["0", "0"]


def test_an_image_with_ids_beyond_is_refused(remapped: Engine) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("far")
        entry.uid = 70_000
        tar.addfile(entry)
    path = remapped.root / "far.tar"
    path.write_bytes(archive.getvalue())
    done = remapped.docker("import", str(path), "far")
    done = done if done.code else remapped.docker("create", "far", "true")
    assert done.code != 0
    assert 'entry "far" cannot be made: user id 70000 has no place' in done.stderr
    remapped.docker("rmi", "-f", "far")
    path.unlink()


# ── others' namespaces ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", ["--network", "--pid", "--ipc"])
@once
def test_whoever_joins_is_in_the_same_user_namespace(remapped: Engine, option: str) -> None:
    pid = running(remapped, "boat", "--ipc", "shareable")
    said = sh(
        remapped, option, "container:boat", "readlink /proc/self/ns/user; ls /sys/class/net; touch /dev/shm/x"
    ).out
    assert said.split() == [user_namespace(pid), "eth0", "lo"]


@pytest.mark.parametrize("options", [["--privileged"], ["--network", "host"], ["--pid", "host"]])
@once
def test_what_only_the_host_s_root_may_takes_userns_host(remapped: Engine, options: list[str]) -> None:
    refused = sh(remapped, *options, "true")
    assert refused.code == 125
    assert "user namespaces" in refused.stderr
    assert sh(remapped, *options, "--userns", "host", "cat /proc/self/uid_map").out.split() == ["0", "0", "4294967295"]


@once
def test_two_kinds_side_by_side(remapped: Engine) -> None:
    running(remapped, "boat")
    pid = running(remapped, "raft", "--userns", "host")
    assert user_namespace(pid) == user_namespace("self")
    assert remapped.docker("exec", "raft", "sh", "-c", "touch /tmp/rafts-file; ip -o addr show eth0 | wc -l").out == "1"
    assert owner(on_disk(remapped, "rafts-file")) == (0, 0)
    joined = sh(remapped, "--network", "container:raft", "true")
    assert "raft is in the host's user namespace: join it with --userns=host" in joined.stderr
    mixed = sh(remapped, "--userns", "host", "--network", "container:boat", "ls /sys/class/net")
    assert mixed.out.split() == ["eth0", "lo"]


@once
def test_cgroups_of_the_host_can_be_looked_at(remapped: Engine) -> None:
    shown = sh(remapped, "--cgroupns", "host", "ls /sys/fs/cgroup; cat /proc/self/cgroup; touch /sys/fs/cgroup/x")
    assert remapped.instance in shown.stdout
    assert "Read-only file system" in shown.stderr
    assert sh(remapped, "--ipc", "host", "--uts", "host", "hostname").out == os.uname().nodename


# ── the setting ──────────────────────────────────────────────────────────────────────────────────────────────────────


@once
def test_a_daemon_without_ranges_says_so_and_does_not_start(remapped: Engine, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"runtime: {{userns_remap: default, subuid_file: {tmp_path}/none}}\n")
    for more in (["--validate"], []):
        said = remapped.run(sys.executable, "-m", "sampan.cli", "daemon", "--config-file", config, *more)
        assert said.code == 1
        assert f"runtime.userns_remap: {tmp_path}/none has no ids for dockremap" in said.stderr


def test_names_are_found(remapped: Engine) -> None:
    remapped.sampan("image", "from-host", "-t", "names", "sh", "sleep", "getent").ok()
    remapped.docker("network", "create", "sea").ok()
    remapped.docker("run", "-d", "--name", "web", "--network", "sea", "names", "sleep", "600").ok()
    asked = remapped.docker("run", "--rm", "--network", "sea", "names", "getent", "hosts", "web.sea")
    [address, name] = asked.out.split()
    assert (address, name) == (
        remapped.docker("inspect", "-f", "{{.NetworkSettings.Networks.sea.IPAddress}}", "web").out,
        "web.sea",
    )
    remapped.docker("rm", "-f", "web").ok()
    remapped.docker("network", "rm", "sea").ok()
