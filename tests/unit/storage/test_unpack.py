"""Unpacking layers: what they mean, and that nothing hostile gets out."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sampan.errors import Exhausted, Invalid, SampanError
from sampan.images.confined.limits import Limits
from sampan.images.unpack import unpack
from sampan.testing.archives import Archive

pytestmark = pytest.mark.root

Style = Literal["in-place", "overlay"]
STYLES: tuple[Style, ...] = ("in-place", "overlay")


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> Style:
    chosen: Style = request.param
    return chosen


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    path.mkdir()
    return path


def snapshot(path: Path) -> list[tuple[object, ...]]:
    """Everything below ``path`` but the layer, and what would show if it were written to."""
    found: list[tuple[object, ...]] = []
    for parent, directories, files in os.walk(path):
        if "layer" in directories:
            directories.remove("layer")
        for name in (*directories, *files):
            status = (Path(parent) / name).lstat()
            found.append(
                (parent, name, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, status.st_nlink)
            )
    return sorted(found, key=str)


# ── hostile ────────────────────────────────────────────────────────────────────────────────────────────────────

REFUSED = {
    "climbing name": (Archive().file("../outside/new", b"x"), "outside of the image"),
    "climbing late": (Archive().file("a/../../outside/new", b"x"), "outside of the image"),
    "climbing directory": (Archive().directory("../outside/new"), "outside of the image"),
    "climbing whiteout": (Archive().file("../outside/.wh.victim"), "outside of the image"),
    "climbing opaque": (Archive().file("../outside/.wh..wh..opq"), "outside of the image"),
    "climbing link": (Archive().symlink("../outside/link", "x"), "outside of the image"),
    "hard link out": (Archive().hard_link("x", "../outside/victim"), "outside of the image"),
    "hard link to nothing": (Archive().hard_link("x", "nothing"), "no file of it"),
    "hard link to absolute path": (Archive().hard_link("x", "/etc/passwd"), "no file of it"),
    "hard link to a directory": (Archive().directory("d").hard_link("x", "d"), "no file of it"),
    "hard link to the root": (Archive().hard_link("x", "."), "no file of it"),
    "below a file": (Archive().file("f").file("f/x"), "no directory"),
    "below a dangling link": (Archive().symlink("l", "nowhere").file("l/x"), "no directory"),
    "below a loop": (Archive().symlink("l", "l").file("l/x"), "cannot be made"),
    "the root as a link": (Archive().symlink(".", "/etc"), "root directory"),
    "the root as a file": (Archive().file("/"), "root directory"),
    "whiteout of the root": (Archive().file(".wh."), "names no file"),
    "whiteout of dot": (Archive().file("d/.wh.."), "names no file"),
    "whiteout of dot dot": (Archive().file("d/.wh..."), "names no file"),
    "whiteout device": (Archive().device("null", 0, 0), "0:0"),
    "long component": (Archive().file("n" * 300), "cannot be made"),
    "long path": (Archive().file("d/" * 2100 + "x"), "longer than"),
    "odd type": (Archive().add("odd", b"Z"), "type"),
    "empty link": (Archive().symlink("l", ""), "link to nothing"),
    "impossible device": (Archive().device("d", 5000, 1), "impossible"),
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "victim").write_text("unharmed")
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_entries_are_refused_by_name(
    tmp_path: Path, layer: Path, outside: Path, style: Style, name: str
) -> None:
    archive, reason = REFUSED[name]
    before = snapshot(tmp_path)
    with pytest.raises(Invalid, match=reason) as refusal:
        unpack(io.BytesIO(archive.bytes()), layer, style)
    assert "\n" not in refusal.value.message
    assert snapshot(tmp_path) == before


def through_links(outside: Path) -> list[Archive]:
    """Archives that plant a link to the outside and then use it."""
    found = []
    for target in (str(outside), "../outside", "../" * 20 + str(outside).lstrip("/")):
        found += [
            Archive().symlink("l", target).file("l/victim", b"harmed"),
            Archive().symlink("l", target).file("l/new", b"x"),
            Archive().symlink("l", target).directory("l", mode=0o777).file("l/victim", b"harmed"),
            Archive().symlink("l", target).file("l/.wh.victim"),
            Archive().symlink("l", target).file("l/.wh..wh..opq"),
            Archive().symlink("l", target).hard_link("x", "l/victim"),
            Archive().symlink("l", target + "/victim").file("l", b"harmed"),
            Archive().symlink("l", target + "/victim").hard_link("x", "l").file("x", b"harmed"),
            Archive().symlink("l", target + "/victim").file(".wh.l"),
            Archive().directory("d").symlink("d/l", target).symlink("m", "d/l").file("m/victim", b"harmed"),
            Archive().directory("l").file("l/a").symlink("l", target).file("l/victim", b"harmed"),
        ]
    return found


def test_links_that_lead_out_lead_nowhere(tmp_path: Path, layer: Path, outside: Path, style: Style) -> None:
    before = snapshot(tmp_path)
    for number, archive in enumerate(through_links(outside)):
        target = layer / str(number)
        target.mkdir()
        with contextlib.suppress(Invalid):
            unpack(archive.stream(), target, style)
        assert (outside / "victim").read_text() == "unharmed"
        assert snapshot(tmp_path) == before, f"archive {number} changed something outside"


def test_absolute_names_count_from_the_layer(layer: Path, style: Style) -> None:
    unpack(Archive().file("/etc/name", b"x").hard_link("/other", "/etc/name").stream(), layer, style)
    assert (layer / "other").stat().st_ino == (layer / "etc/name").stat().st_ino


def test_a_link_inside_is_followed_inside(layer: Path, style: Style) -> None:
    unpack(Archive().directory("usr/lib").symlink("lib", "/usr/lib").file("lib/x", b"x").stream(), layer, style)
    assert (layer / "usr/lib/x").read_bytes() == b"x"
    assert (layer / "lib").is_symlink()


def test_attributes_that_steer_the_kernel_are_left_out(layer: Path, style: Style) -> None:
    headers = {
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "x",
        "SCHILY.xattr.user.kept": "yes",
    }
    archive = Archive(format=tarfile.PAX_FORMAT).directory("d", pax_headers=headers).file("f", pax_headers=headers)
    unpack(archive.stream(), layer, style)
    for name in ("d", "f"):
        assert os.listxattr(layer / name) == ["user.kept"]


# ── damaged ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_truncation_is_noticed(layer: Path) -> None:
    """Except just after an entry: there, some programs leave out the end mark."""
    data = Archive().file("one", b"x" * 700).file("two", b"y").bytes()
    for end in range(1, 512 * 5):
        if end in (512 * 3, 512 * 5):
            continue
        with pytest.raises(Invalid, match=r"truncated|damaged"):
            unpack(io.BytesIO(data[:end]), layer, "overlay")


@pytest.mark.parametrize("offset", [0, 100, 124, 150, 156, 257, 300])
def test_a_flipped_bit_is_noticed_and_told_where(layer: Path, offset: int) -> None:
    data = bytearray(Archive().file("one", b"x").file("two", b"y").bytes())
    data[1024 + offset] ^= 0x10
    with pytest.raises(Invalid, match='"one"'):
        unpack(io.BytesIO(data), layer, "overlay")


def test_a_checksum_that_is_no_number_is_damage(layer: Path) -> None:
    data = bytearray(Archive().file("one", b"x").bytes())
    data[148:156] = b"096341\0 "
    with pytest.raises(Invalid, match="damaged"):
        unpack(io.BytesIO(data), layer, "overlay")


def test_what_is_no_archive_is_refused(layer: Path) -> None:
    for data in (b"hello", b"x" * 5000, os.urandom(4096)):
        with pytest.raises(Invalid):
            unpack(io.BytesIO(data), layer, "overlay")


@pytest.mark.parametrize(
    "field", [b"17\xff", b"-1", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"0x10", b"1_0"], ids=lambda field: repr(field)
)
def test_impossible_sizes_are_refused(layer: Path, field: bytes) -> None:
    with pytest.raises(Invalid):
        unpack(io.BytesIO(patched(Archive().file("f", b"x").bytes(), 124, field.ljust(12, b"\0"))), layer, "overlay")


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """The archive with a field of its first header replaced and the checksum made right again."""
    header = bytearray(data[:512])
    header[offset : offset + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


def test_limits_hold(layer: Path) -> None:
    archive = Archive().file("a", b"x" * 100).file("b", b"x" * 100).bytes()
    with pytest.raises(Invalid, match="more than 1 entries"):
        unpack(io.BytesIO(archive), layer, "overlay", limits=Limits(entries=1))
    with pytest.raises(Invalid, match="more than 150 bytes"):
        unpack(io.BytesIO(archive), layer, "overlay", limits=Limits(size=150))
    assert unpack(io.BytesIO(archive), layer, "overlay", limits=Limits(entries=2, size=200)) == 200


def test_a_huge_extended_header_is_refused(layer: Path) -> None:
    data = patched(Archive().add("x", b"x", b"1").bytes(), 124, b"%011o\0" % (1 << 30))
    with pytest.raises(Invalid, match="impossible size"):
        unpack(io.BytesIO(data), layer, "overlay")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "kit", small], check=True)
    try:
        with pytest.raises(Exhausted, match='"large"'):
            unpack(Archive().file("large", bytes(1 << 20)).stream(), small, "overlay")
    finally:
        subprocess.run(["umount", small], check=True)


# ── what layers mean ───────────────────────────────────────────────────────────────────────────────────────────


def test_whiteouts_in_place_spare_what_the_layer_brings(layer: Path) -> None:
    unpack(Archive().file("d/old").file("e/old").file("f").file("g").file("e/sub/old").stream(), layer, "in-place")
    second = Archive().file("d/new").file("d/.wh..wh..opq").file("e/sub/new").file(".wh.e").file(".wh.f")
    second.file(".wh.g").file("g", b"again").file(".wh.missing").file("d/.wh..wh.plnk")
    unpack(second.stream(), layer, "in-place")
    found = sorted(str(path.relative_to(layer)) for path in layer.rglob("*"))
    assert found == ["d", "d/new", "e", "e/sub", "e/sub/new", "g"]
    assert (layer / "g").read_bytes() == b"again"


def test_whiteouts_of_an_overlay(layer: Path) -> None:
    archive = Archive().file(".wh.gone").file("d/.wh..wh..opq").file("d/new").file(".wh.anew").directory("anew")
    archive.directory("later").file(".wh.later").file(".wh.file").file("file", b"x").file(".wh.deep").file("deep/x")
    unpack(archive.stream(), layer, "overlay")
    gone = (layer / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    for name in ("d", "anew", "later", "deep"):
        assert os.getxattr(layer / name, "trusted.overlay.opaque") == b"y", name
    assert (layer / "file").read_bytes() == b"x"


def test_the_last_of_two_entries_wins(layer: Path, style: Style) -> None:
    archive = Archive().file("a", b"1", mode=0o600).file("a", b"2").directory("b").file("b/x").file("b", b"now a file")
    archive.symlink("c", "a").directory("c").file("c/x").file("d", b"x").hard_link("d", "a").hard_link("a", "a")
    archive.directory("e", mode=0o700).file("e/kept").directory("e", mode=0o711)
    unpack(archive.stream(), layer, style)
    assert (layer / "a").read_bytes() == b"2"
    assert (layer / "b").read_bytes() == b"now a file"
    assert (layer / "c/x").exists()
    assert not (layer / "c").is_symlink()
    assert (layer / "d").stat().st_ino == (layer / "a").stat().st_ino
    assert stat.S_IMODE((layer / "e").stat().st_mode) == 0o711
    assert (layer / "e/kept").exists()


NAMES = [
    "a",
    "b",
    "a/b",
    "a/b/a",
    "a/b/.",
    "a/b/..",
    "a//b",
    "/a/b",
    "a/b/../a",
    "a/.a",
    ".a",
    "a/.wh.b",
    "a/.wh..wh..opq",
]
MEMBERS = st.lists(st.tuples(st.sampled_from("fffdlh"), st.sampled_from(NAMES)), max_size=12)


@settings(deadline=None)
@example([("f", "a/b/."), ("f", "a/b/a")], "overlay")
@given(MEMBERS, st.sampled_from(STYLES))
def test_files_beside_one_another_are_where_they_would_be_alone(members: list[tuple[str, str]], style: Style) -> None:
    """Most entries lie in the directory of the last one, which is not looked for again."""
    results = []
    for spelt in ("", "./"):  # every second entry, so that none has the directory of the last one's name
        archive = Archive()
        for count, (kind, name) in enumerate(members):
            name = spelt * (count % 2) + name
            if kind == "f":
                archive.file(name, b"%d" % count)
            elif kind == "d":
                archive.directory(name, mtime=count)
            else:
                (archive.symlink if kind == "l" else archive.hard_link)(name, NAMES[count % 4])
        with tempfile.TemporaryDirectory() as place:
            try:
                unpack(archive.stream(), Path(place), style)
                failed = ""
            except SampanError as error:
                failed = type(error).__name__
            results.append((failed, _contents(Path(place))))
    assert results[0] == results[1]


def _contents(place: Path) -> list[tuple[str, int, bytes]]:
    found = []
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        data = (
            path.read_bytes()
            if stat.S_ISREG(status.st_mode)
            else os.fsencode(path.readlink())
            if path.is_symlink()
            else b""
        )
        found.append((str(path.relative_to(place)), status.st_mode, data))
    return found


def test_attributes_are_as_the_archive_says(layer: Path, style: Style) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    headers = {"SCHILY.xattr.security.capability": capability.decode("latin-1"), "mtime": "1234567890.987654321"}
    archive = Archive(format=tarfile.PAX_FORMAT, encoding="latin-1")
    archive.directory("g", mode=0o2775, gid=7, mtime=5).file("g/f", b"x").directory("g/d", mode=0o755)
    archive.file("ping", mode=0o6755, uid=1000, gid=2000, pax_headers=headers)
    archive.file("fifo", mode=0o600).device("console", 5, 1, mode=0o620, gid=5).symlink("l", "x", uid=9, mtime=7)
    unpack(archive.stream(), layer, style)
    ping = (layer / "ping").stat()
    assert (ping.st_mode & 0o7777, ping.st_uid, ping.st_gid) == (0o6755, 1000, 2000)
    assert ping.st_mtime_ns == 1234567890987654321
    assert os.getxattr(layer / "ping", "security.capability") == capability
    assert (layer / "g").stat().st_mtime == 5
    assert [(layer / "g" / name).stat().st_gid for name in "fd"] == [0, 0], "a set-gid directory gave its group away"
    assert stat.S_IMODE((layer / "g/d").stat().st_mode) == 0o755
    console = (layer / "console").lstat()
    assert (os.major(console.st_rdev), os.minor(console.st_rdev), console.st_gid) == (5, 1, 5)
    assert ((layer / "l").lstat().st_uid, (layer / "l").lstat().st_mtime) == (9, 7)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_length_and_kind(layer: Path, form: int) -> None:
    """The raw bytes of a name come out as they went in."""
    names = ["n" * 100, "d" * 50 + "/" + "n" * 90, "é", os.fsdecode(b"caf\xe9")]
    if form != tarfile.USTAR_FORMAT:
        names += ["d" * 200 + "/" + "n" * 200, "/".join(["deep"] * 100)]
    if form == tarfile.PAX_FORMAT:
        names.remove(os.fsdecode(b"caf\xe9"))  # Python's tarfile writes such a name wrongly there
    archive = Archive(format=form)
    for name in names:
        archive.file(name, name.encode("utf-8", "surrogateescape"))
    archive.symlink("link", names[0])
    unpack(archive.stream(), layer, "overlay")
    for name in names:
        assert (layer / name).read_bytes() == name.encode("utf-8", "surrogateescape")
    assert str((layer / "link").readlink()) == names[0]


@pytest.mark.parametrize(
    "form", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_files_of_gnu_tar(tmp_path: Path, layer: Path, form: list[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        for number in range(30):
            file.seek(number << 20)
            file.write(b"%d" % number * 5000)
        file.truncate(40 << 20)
    (source / "after").write_text("what follows")
    command = ["tar", "--sparse", *form, "-cf", "-", "-C", str(source), "sparse", "after"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    unpack(io.BytesIO(data), layer, "overlay")
    assert (layer / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (layer / "after").read_text() == "what follows"
    assert (layer / "sparse").stat().st_blocks * 512 < 4 << 20, "the holes were filled"


def test_large_numbers(layer: Path) -> None:
    archive = Archive(format=tarfile.GNU_FORMAT).file("f", b"x", uid=3_000_000, gid=4_000_000_000, mtime=1 << 33)
    archive.file("past", mtime=-5)
    unpack(archive.stream(), layer, "overlay")
    status = (layer / "f").stat()
    assert (status.st_uid, status.st_gid, status.st_mtime) == (3_000_000, 4_000_000_000, 1 << 33)
    assert (layer / "past").stat().st_mtime == -5


def test_the_stream_is_read_to_its_end_in_pieces_of_any_size(layer: Path) -> None:
    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 1, 37))

    stream = Dripping(Archive().file("f", b"x" * 5000).file("g", b"y").bytes() + bytes(5000))
    assert unpack(stream, layer, "overlay") == 5001
    assert stream.tell() == len(stream.getvalue())
    assert (layer / "f").read_bytes() == b"x" * 5000


def test_more_directories_than_descriptors(layer: Path, style: Style) -> None:
    archive = Archive()
    for number in range(400):
        archive.directory(f"d{number}", mtime=number)
    for number in range(400):
        archive.file(f"d{number}/f", b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    unpack(archive.stream(), layer, style)
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "descriptors were left open"
    assert [(layer / f"d{number}").stat().st_mtime for number in range(400)] == list(range(400))
