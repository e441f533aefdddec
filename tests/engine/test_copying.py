"""``cp``, ``diff``, ``export``: files of containers, through both command lines, against a real engine."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import stat
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]

FILL = """mkdir -p /d/sub; echo hi > /d/f; chmod 640 /d/f; echo deep > /d/sub/g; ln -s /d/f /link; ln -s sub /d/dirlink
ln /d/f /d/hard; echo tmp > /tmpf/t; echo vol > /vol/v; echo ready > /ready; exec sleep 1000"""


@pytest.fixture(params=["running", "stopped"])
def boat(request: pytest.FixtureRequest, engine: Engine, shell: str, tmp_path: Path) -> Iterator[str]:
    """A container with some files, a bind mount at ``/vol`` and a tmpfs."""
    name = f"boat-{uuid.uuid4().hex[:8]}"
    (tmp_path / "vol").mkdir()
    mounts = ["-v", f"{tmp_path}/vol:/vol", "--tmpfs", "/tmpf"]
    engine.sampan("run", "-d", "--name", name, *mounts, shell, "sh", "-c", FILL).ok()
    engine.wait_until(lambda: engine.sampan("exec", name, "test", "-e", "/ready").code == 0, "the files are there")
    if request.param == "stopped":
        engine.sampan("kill", name).ok()
    yield name
    engine.sampan("rm", "-f", name).ok()


def inside(engine: Engine, name: str, path: str) -> str:
    """The content of a file in a container, by a way of its own."""
    data = engine.api("GET", f"/containers/{name}/archive?path={path}")[1]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(tar.next() or "")
        assert file
        return file.read().decode()


def test_out_of_a_container(cli: Cli, boat: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    cli("cp", f"{boat}:/d", out).ok()
    assert (out / "d/f").read_text() == "hi\n"
    assert stat.S_IMODE((out / "d/f").stat().st_mode) == 0o640
    assert (out / "d/sub/g").read_text() == "deep\n"
    assert str((out / "d/dirlink").readlink()) == "sub"
    assert (out / "d/hard").stat().st_ino == (out / "d/f").stat().st_ino
    cli("cp", f"{boat}:/d/.", out / "contents").ok()
    assert {path.name for path in (out / "contents").iterdir()} == {"f", "sub", "dirlink", "hard"}
    cli("cp", f"{boat}:/d", out / "renamed").ok()
    assert (out / "renamed/f").read_text() == "hi\n"
    cli("cp", f"{boat}:/d/f", out / "other").ok()
    assert (out / "other").read_text() == "hi\n"
    cli("cp", f"{boat}:d/f", out).ok()
    assert (out / "f").read_text() == "hi\n"
    cli("cp", f"{boat}:/vol/v", out).ok()
    assert (out / "v").read_text() == "vol\n"


def test_the_working_directory_is_there_before_the_first_start(engine: Engine, cli: Cli, shell: str) -> None:
    name = f"boat-{uuid.uuid4().hex[:8]}"
    cli("create", "--name", name, "-w", "/deep/down", shell, "pwd").ok()
    status, data = engine.api("GET", f"/containers/{name}/archive?path=/deep")
    assert status == 200, data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(each.name, each.mode) for each in tar] == [("deep", 0o755), ("deep/down", 0o755)]
    assert cli("start", "-a", name).out == "/deep/down"
    cli("rm", name).ok()


def test_links_are_copied_or_followed(cli: Cli, boat: str, tmp_path: Path) -> None:
    cli("cp", f"{boat}:/link", tmp_path / "asis").ok()
    assert str((tmp_path / "asis").readlink()) == "/d/f"
    cli("cp", "-L", f"{boat}:/link", tmp_path / "followed").ok()
    assert (tmp_path / "followed").read_text() == "hi\n"
    cli("cp", "-L", f"{boat}:/d/dirlink", tmp_path / "tree").ok()
    assert (tmp_path / "tree/g").read_text() == "deep\n"


def test_into_a_container(engine: Engine, cli: Cli, boat: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "a").write_text("A")
    (tree / "sub/b").write_text("B")
    (tree / ".wh.plain").write_text("W")
    (tree / "link").symlink_to("/etc/passwd")
    cli("cp", tree, f"{boat}:/d").ok()
    assert inside(engine, boat, "/d/tree/sub/b") == "B"
    assert inside(engine, boat, "/d/tree/.wh.plain") == "W", "a whiteout's name is a plain name here"
    cli("cp", tree, f"{boat}:/fresh").ok()
    assert inside(engine, boat, "/fresh/a") == "A"
    cli("cp", f"{tree}/.", f"{boat}:/d").ok()
    assert inside(engine, boat, "/d/a") == "A"
    cli("cp", tree / "a", f"{boat}:/d/f").ok()
    assert inside(engine, boat, "/d/f") == "A"
    cli("cp", tree / "a", f"{boat}:/d/sub/").ok()
    assert inside(engine, boat, "/d/sub/a") == "A"
    cli("cp", tree / "a", f"{boat}:/vol/from-host").ok()
    assert (tmp_path / "vol/from-host").read_text() == "A"
    cli("cp", tree / "sub/b", f"{boat}:/d/dirlink").ok()
    assert inside(engine, boat, "/d/sub/b") == "B", "a link to a directory leads there"


def test_through_pipes(engine: Engine, cli: Cli, boat: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("x/y")
        member.size, member.uid, member.gid = 3, 12, 34
        tar.addfile(member, io.BytesIO(b"xyz"))
        member = tarfile.TarInfo("x/pipe")
        member.type = tarfile.FIFOTYPE
        tar.addfile(member)
    cli("cp", "-", f"{boat}:/d", stdin=archive.getvalue()).ok()
    assert inside(engine, boat, "/d/x/y") == "xyz"
    status, data = engine.api("GET", f"/containers/{boat}/archive?path=/d/x")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: member for member in tar}
    assert status == 200
    assert (found["x/y"].uid, found["x/y"].gid) == (12, 34)
    assert found["x/pipe"].isfifo()
    assert "hi" in cli("cp", f"{boat}:/d/f", "-").stdout


def test_compressed_archives_are_opened_elsewhere(engine: Engine, cli: Cli, boat: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("packed")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"xyz"))
    for data in (gzip.compress(archive.getvalue()), lzma.compress(archive.getvalue())):
        cli("cp", "-", f"{boat}:/d", stdin=data).ok()
        assert inside(engine, boat, "/d/packed") == "xyz"
        cut = cli("cp", "-", f"{boat}:/d", stdin=data[:-20])
        assert (cut.code, cut.stderr.count("\n")) == (1, 1)
        assert "truncated" in cut.stderr
    assert engine.daemon is not None
    assert "isal" not in Path(f"/proc/{engine.daemon.pid}/maps").read_text(), "the daemon has not even loaded it"


def test_refusals(cli: Cli, boat: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    for source, target, words in [
        (f"{boat}:/none", tmp_path, "Could not find the file /none in container"),
        (plain, f"{boat}:/none/", "no such directory"),
        (tmp_path, f"{boat}:/d/f", "cannot copy directory"),
        (plain, f"{boat}:/d/f/x", "not a directory"),
        ("nobody:/x", tmp_path, "No such container: nobody"),
        (plain, "nobody:/x", "No such container: nobody"),
        (f"{boat}:/d", plain, "cannot copy directory"),
        (tmp_path / "none", f"{boat}:/", "no such file"),
    ]:
        done = cli("cp", source, target)
        assert done.code == 1
        assert words in done.stderr


def test_read_only_stays_so(engine: Engine, cli: Cli, shell: str, tmp_path: Path) -> None:
    name = f"boat-{uuid.uuid4().hex[:8]}"
    (tmp_path / "file").write_text("x")
    mounts = ["--read-only", "-v", f"{tmp_path}:/ro:ro", "-v", f"{tmp_path}:/rw"]
    engine.sampan("run", "-d", "--name", name, *mounts, shell, "sleep", "1000").ok()
    for _ in range(2):
        assert "container rootfs is marked read-only" in cli("cp", tmp_path / "file", f"{name}:/etc/").stderr
        assert "mounted volume is marked read-only" in cli("cp", tmp_path / "file", f"{name}:/ro/").stderr
        cli("cp", tmp_path / "file", f"{name}:/rw/copy").ok()
        engine.sampan("kill", name)
    engine.sampan("rm", name).ok()


def test_mount_points_are_not_replaced(engine: Engine, cli: Cli, boat: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    running = json.loads(engine.sampan("inspect", boat).out)[0]["State"]["Running"]
    if running:
        assert "device or resource busy" in cli("cp", tmp_path / "file", f"{boat}:/etc/hosts").stderr
        assert "127.0.0.1" in engine.sampan("exec", boat, "cat", "/etc/hosts").out
    with tarfile.open(tmp_path / "vol.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("vol"))
    status, told = engine.api("PUT", f"/containers/{boat}/archive?path=/", (tmp_path / "vol.tar").read_bytes())
    assert (status, "device or resource busy" in told["message"]) == (409, True)
    assert (tmp_path / "vol/v").read_text() == "vol\n"


def test_diff_and_export(engine: Engine, cli: Cli, boat: str, tmp_path: Path) -> None:
    told = cli("diff", boat).out.splitlines()
    assert {"A /d", "A /d/f", "A /link", "A /ready"} <= set(told)
    assert not [line for line in told if "/etc" in line or "/proc" in line], "what we mount is no change of theirs"
    cli("export", "-o", tmp_path / "out.tar", boat).ok()
    with tarfile.open(tmp_path / "out.tar") as tar:
        names = set(tar.getnames())
    assert {"d/f", "link", "vol", "tmpf"} <= names
    assert not {"vol/v", "tmpf/t", "proc/self"} & names, "what is mounted is not exported"
    tag = f"trip-{uuid.uuid4().hex[:6]}:1"
    cli("import", tmp_path / "out.tar", tag).ok()
    assert cli("run", "--rm", tag, "cat", "/d/sub/g").out == "deep"
    cli("rmi", tag).ok()


def test_the_stat_header_is_gos(engine: Engine, boat: str) -> None:
    import base64
    import http.client

    class Socket(http.client.HTTPConnection):
        def connect(self) -> None:
            import socket

            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(engine.socket))

    def look(path: str) -> dict[str, object]:
        connection = Socket("localhost")
        connection.request("HEAD", f"/containers/{boat}/archive?path={path}")
        answer = connection.getresponse()
        assert answer.status == 200
        told = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
        connection.close()
        return dict(told)

    assert (look("/d/f")["mode"], look("/d/f")["size"], look("/d/f")["name"]) == (0o640, 3, "f")
    assert int(str(look("/d/")["mode"])) >> 31 == 1
    assert look("/d/.")["name"] == "."
    link = look("/link")
    assert (int(str(link["mode"])) >> 27 & 1, link["linkTarget"]) == (1, "/d/f")
    assert look("/d/dirlink")["linkTarget"] == "/d/sub"


SWAP = """mkdir -p /w/real/inner; echo mine > /w/real/inner/passwd; echo mine > /w/real/passwd; ln -s /etc /w/link
while :; do mv -T /w/real /w/x; mv -T /w/link /w/real; mv -T /w/real /w/link; mv -T /w/x /w/real; done"""


def test_a_container_that_swaps_links_gains_nothing(engine: Engine, shell: str) -> None:
    """While a process exchanges a directory and a link to /etc, ours of the host is neither read nor written."""
    name = f"boat-{uuid.uuid4().hex[:8]}"
    engine.sampan("run", "-d", "--name", name, shell, "sh", "-c", SWAP).ok()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for member in (tarfile.TarInfo("real/mark-of-cp"), tarfile.TarInfo("real/inner/mark-of-cp")):
            member.size, member.mode = 1, 0o666
            tar.addfile(member, io.BytesIO(b"x"))
        member = tarfile.TarInfo("real/inner")
        member.type, member.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(member)
    before = {path.name: path.stat().st_mode for path in Path("/etc").iterdir() if path.exists()}
    host = Path("/etc/passwd").read_bytes()
    theirs = engine.sampan("exec", name, "cat", "/etc/passwd").stdout.encode()
    seen = set()
    for _ in range(60):
        status, data = engine.api("GET", f"/containers/{name}/archive?path=/w/real/passwd")
        if status == 200:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                found = tar.next()
                file = tar.extractfile(found) if found and found.isfile() else None
                seen.add(file.read() if file else b"")
        engine.api("GET", f"/containers/{name}/archive?path=/w")
        engine.api("PUT", f"/containers/{name}/archive?path=/w", archive.getvalue())
    assert seen <= {b"mine\n", b"", theirs}
    assert host not in seen - {theirs}
    assert {path.name: path.stat().st_mode for path in Path("/etc").iterdir() if path.exists()} == before
    assert "Traceback" not in engine.log
    engine.sampan("rm", "-f", name).ok()


def test_large_files_take_no_memory(engine: Engine, boat: str, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 << 20)
    assert engine.daemon
    before = _memory(engine.daemon.pid, "VmRSS:")
    Path(f"/proc/{engine.daemon.pid}/clear_refs").write_text("5")
    engine.sampan("cp", tmp_path / "large", f"{boat}:/large").ok()
    engine.sampan("cp", f"{boat}:/large", tmp_path / "back").ok()
    assert (tmp_path / "back").stat().st_size == 64 << 20
    assert _memory(engine.daemon.pid, "VmHWM:") < before + (24 << 10)


def _memory(pid: int, key: str) -> int:
    """KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition(key)[2].split()[0])


@pytest.mark.parametrize("storage", ["overlayfs", "vfs"])
def test_a_limited_container_runs_out_of_space(engine: Engine, shell: str, storage: str) -> None:
    """And keeps what it wrote over the daemon's death; its disk goes with it."""
    name = f"boat-{uuid.uuid4().hex[:8]}"
    limit = ["--storage-opt", "size=64M", "--storage-driver", storage]
    script = "echo kept > /kept; dd if=/dev/zero of=/big bs=1M count=90 && exit 9; exec sleep 1000"
    engine.sampan("run", "-d", "--name", name, *limit, shell, "sh", "-c", script).ok()
    engine.wait_until(lambda: "No space left on device" in engine.sampan("logs", name).stderr, "space runs out")
    engine.kill()
    engine.start()
    assert "A /kept" in engine.sampan("diff", name).out
    engine.sampan("kill", name).ok()
    assert inside(engine, name, "/kept") == "kept\n"
    engine.sampan("rm", name).ok()
    engine.wait_until(lambda: not list((engine.root / "data").rglob("disk")), "its disk goes")
    engine.wait_until(lambda: str(engine.root) not in "".join(devices()), "the loop device goes")


def devices() -> list[str]:
    """The files of all loop devices."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return found


def test_impossible_limits_are_refused(engine: Engine, cli: Cli, shell: str, nothing_left: None) -> None:
    for option, words in [
        ("size=abc", "abc"),
        ("size=0", "0"),
        ("size=-5", "-5"),
        ("size=1k", "from 4 MiB"),
        ("size=999999999T", "to 16 TiB"),
        ("color=red", "unknown storage option: color"),
    ]:
        done = cli("create", "--storage-opt", option, shell, "true")
        assert done.code == 1 or done.code == 125
        assert words in done.stderr
