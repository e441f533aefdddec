"""An image of the host's own programs works, is the same twice, and takes no more than it should."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from sampan.errors import Invalid, NotFound
from sampan.images import elf, from_host
from sampan.images.host_tree import HostTree
from sampan.images.linker import Linker
from unit.images.image_house import House

SH = "/bin/sh"


def written(tree: HostTree) -> dict[str, tarfile.TarInfo]:
    out = io.BytesIO()
    tree.write(out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return {member.name: member for member in tar}


# ── ELF and the loader ─────────────────────────────────────────────────────────────────────────────────────────


def test_finds_what_the_loader_itself_loads() -> None:
    program = str(Path(SH).resolve())
    headers = elf.read(Path(program))
    assert headers is not None
    listed = subprocess.run([headers.interpreter, "--list", program], capture_output=True, text=True, check=True).stdout
    theirs = {Path(word).resolve() for word in listed.split() if word.startswith("/")}
    ours, missing = Linker().closure(program)
    assert ({Path(each).resolve() for each in ours}, missing) == (theirs, [])


@pytest.mark.parametrize("cut", [0, 3, 40, 63, 64, 200, 700])
def test_a_broken_file_is_no_elf_and_no_crash(tmp_path: Path, cut: int) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(Path(SH).resolve().read_bytes()[:cut])
    found = elf.read(broken)
    assert found is None or not found.needed


def test_hostile_headers_are_no_crash(tmp_path: Path) -> None:
    good = bytearray(Path(SH).resolve().read_bytes()[:4096])
    broken = tmp_path / "broken"
    for at in range(16, 600, 7):
        data = good.copy()
        data[at : at + 8] = b"\xff" * 8
        broken.write_bytes(data)
        elf.read(broken)


def test_origin_in_a_search_path_is_where_the_program_is(tmp_path: Path) -> None:
    headers = elf.Elf(64, 62, "", ("libc.so.6",), (), ("$ORIGIN/../mine", "${ORIGIN}/other"))
    program = tmp_path / "bin" / "program"
    for name in ("bin", "mine", "other"):
        (tmp_path / name).mkdir()
    libc = Linker().find("libc.so.6", elf.read(Path(SH).resolve()) or headers, SH)
    assert libc is not None
    (tmp_path / "mine" / "libc.so.6").write_bytes(Path(libc).resolve().read_bytes())
    real = elf.read(Path(libc).resolve())
    assert real is not None
    found = Linker().find("libc.so.6", headers._replace(bits=real.bits, machine=real.machine), str(program))
    assert found == f"{tmp_path}/bin/../mine/libc.so.6"


def test_a_library_of_another_machine_is_not_taken(tmp_path: Path) -> None:
    headers = elf.Elf(32, 99, "", (), (), ())
    assert Linker().find("libc.so.6", headers, "/bin/x") is None


# ── the tree ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_links_on_the_way_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").write_text("x")
    (tmp_path / "short").symlink_to("real/deep")
    (tmp_path / "long").symlink_to(tmp_path / "short")
    (tmp_path / "up").symlink_to("short/../deep/file")
    tree = HostTree()
    assert tree.add(str(tmp_path / "long" / "file")) == f"{tmp_path}/real/deep/file"
    assert tree.add(str(tmp_path / "up")) == f"{tmp_path}/real/deep/file"
    members = written(tree)
    here = str(tmp_path).lstrip("/")
    assert members[f"{here}/long"].linkname == f"{tmp_path}/short"
    assert members[f"{here}/short"].linkname == "real/deep"
    assert members[f"{here}/real/deep/file"].isreg()


def test_loops_devices_and_absent_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Invalid, match="too many symbolic links"):
        HostTree().add(str(tmp_path / "a"))
    with pytest.raises(Invalid, match="/dev/null is neither a file nor a directory"):
        HostTree().add("/dev/null")
    with pytest.raises(NotFound, match="this host has no /nowhere/at/all"):
        HostTree().add("/nowhere/at/all")


def test_files_keep_their_times_and_directories_get_the_newest(tmp_path: Path) -> None:
    for name, when in (("old", 1000), ("new", 2000)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (when, when))
    os.link(tmp_path / "new", tmp_path / "newer")
    tree = HostTree()
    tree.add_all(str(tmp_path / name) for name in ("old", "new", "newer", "absent"))
    tree.link("/link", "target")
    members = written(tree)
    here = str(tmp_path).lstrip("/")
    assert [members[f"{here}/{name}"].mtime for name in ("old", "new")] == [1000, 2000]
    assert {members[name].mtime for name in (here, "link")} == {2000}
    assert members[f"{here}/newer"].linkname == f"{here}/new"


# ── the image ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_people_stay_at_home(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nx:x:65534:1::/:/\n"
    )
    (tmp_path / "group").write_text("root:x:0:\nsudo:x:27:ann\nann:x:1000:\nbroken\n")
    assert from_host._accounts(tmp_path / "passwd", "") == b"root:x:0:0::/root:/bin/sh\nx:x:65534:1::/:/\n"
    assert from_host._accounts(tmp_path / "group", "") == b"root:x:0:\nsudo:x:27:\n"
    assert from_host._accounts(tmp_path / "none", "root:x:0:") == b"root:x:0:\n"


def test_scripts_name_their_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    for line, names in (
        ("#!/bin/sh -e", ["/bin/sh"]),
        ("#! /usr/bin/env -S A=1 sh -e", ["/usr/bin/env", from_host.which("sh")]),
        ("#!", []),
        ("no script", []),
    ):
        script.write_text(line + "\n")
        assert from_host._interpreter(str(script)) == names


@pytest.mark.parametrize("program", ["no-such-program", "./sh", "", "/etc/passwd", "/bin", "a/b"])
def test_a_program_that_is_not_there_is_named(house: House, program: str) -> None:
    with pytest.raises(NotFound, match=f"this host has no program '{program}' that can be executed"):
        house.images.from_host(["sh", program], "x")
    assert (house.files(), house.images.list()) == (set(), [])


@pytest.mark.root
def test_the_useful_set_has_a_working_shell_and_is_the_same_twice(house: House) -> None:
    image = house.images.from_host()
    assert image.references == ["docker.io/library/host:latest"]
    root = house.drivers["first"].root / str(house.images.layer_for(image))
    shell = image.config["config"]["Cmd"][0]
    script = "set -e; cd /tmp; echo a b | awk '{print $2}' | sed s/b/c/ | tee x; grep -c c x; id -u; ls -d /proc"
    out = subprocess.run(["chroot", root, shell, "-c", script], capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("c\n1\n0\n/proc\n", "")
    assert oct((root / "tmp").stat().st_mode) == "0o41777"
    house.images.remove(image.id)
    assert house.images.from_host(reference="again").id == image.id


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
def test_busybox_brings_its_names(house: House) -> None:
    image = house.images.from_host(["busybox"], "busybox")
    root = house.drivers["first"].root / str(house.images.layer_for(image))
    assert image.config["config"]["Cmd"] == ["sh"]
    out = subprocess.run(
        ["chroot", root, "sh", "-c", "readlink -f $(which ls)"], capture_output=True, text=True, check=True
    )
    assert out.stdout.endswith("/busybox\n")


@pytest.mark.root
def test_a_script_of_ones_own(house: House, tmp_path: Path) -> None:
    script = tmp_path / "hello"
    script.write_text("#!/usr/bin/env sh\necho hello from $0\n")
    script.chmod(0o755)
    image = house.images.from_host([str(script)], "hello")
    root = house.drivers["first"].root / str(house.images.layer_for(image))
    assert image.config["config"]["Cmd"] in ([str(script)], ["sh"])
    out = subprocess.run(["chroot", root, script], capture_output=True, text=True, check=True)
    assert out.stdout == f"hello from {script}\n"
