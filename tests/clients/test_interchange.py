"""Images go to skopeo, podman, dockerd and umoci, come back, and are the same: image ids, and files to the last bit."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import lacking
from harness import Engine
from harness.dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_raw=ep
NAMES = ["tree:1", "local.test:5000/deep/tree:v2"]


def needs(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            lacking(f"{program} is not installed")


@pytest.fixture(scope="module")
def base(engine: Engine) -> str:
    """An image of two layers with all that a tree can have; the upper one takes away from the lower."""
    engine.docker("import", "-c", 'CMD ["/tool"]', "-c", "LABEL made=by-hand", "-", "under:1", stdin=lower()).ok()
    [ident] = [engine.docker("create", "under:1").out]
    engine.docker("cp", "-a", "-", f"{ident}:/", stdin=upper()).ok()
    engine.docker("commit", ident, NAMES[0]).ok()
    engine.docker("rm", ident).ok()
    for name in NAMES[1:]:
        engine.docker("tag", NAMES[0], name).ok()
    return NAMES[0]


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mode, found.mtime = kind, 0o644, 1_600_000_000
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each, data in entries:
            each.size = len(data)
            tar.addfile(each, io.BytesIO(data))
    return out.getvalue()


def lower() -> bytes:
    capable = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"), "SCHILY.xattr.user.note": "kept"}
    return packed(
        (entry("tool", mode=0o4755, uid=0, gid=0, pax_headers=capable), b"#!/tool\n"),
        (entry("d", tarfile.DIRTYPE, mode=0o2750, uid=7, gid=8), b""),
        (entry("d/f", uid=70000, gid=80000, mode=0o600), b"one"),
        (entry("d/hard", tarfile.LNKTYPE, linkname="d/f"), b""),
        (entry("d/link", tarfile.SYMTYPE, linkname="../tool", mode=0o777), b""),
        (entry("d/gone"), b"two"),
        (entry("tmp", tarfile.DIRTYPE, mode=0o1777), b""),
        (entry("pipe", tarfile.FIFOTYPE, mode=0o620), b""),
        (entry("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3), b""),
        (entry("näme with space"), b"three"),
        (entry("long/" * 30 + "end", mode=0o640), b"four"),
    )


def upper() -> bytes:
    return packed((entry("d/more", uid=9, gid=9), b"five"), (entry("tool2", mode=0o755), b"six" * 100_000))


def image_id(engine: Engine, name: str) -> str:
    return str(json.loads(engine.docker("image", "inspect", name).out)[0]["Id"])


def gone(engine: Engine) -> None:
    engine.docker("rmi", "-f", *NAMES).ok()


@pytest.fixture
def saved(engine: Engine, base: str, tmp_path: Path) -> Path:
    archive = tmp_path / "saved.tar"
    engine.docker("save", "-o", archive, *NAMES).ok()
    return archive


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("docker-archive:{}:tree:1", "docker-archive:{}/a.tar:tree:1"),
        ("oci-archive:{}:1", "oci:{}/layout:tree:1"),
        ("oci-archive:{}:1", "oci-archive:{}/o.tar:tree:1"),
    ],
)
def test_skopeo_takes_ours_and_we_take_its(
    engine: Engine, base: str, saved: Path, source: str, target: str, tmp_path: Path
) -> None:
    """A Docker archive that becomes an OCI layout would get another configuration: that is skopeo's doing."""
    needs("skopeo")
    ident, place = image_id(engine, base), target.format(tmp_path)
    engine.run("skopeo", "--insecure-policy", "copy", "-q", source.format(saved), place).ok()
    told = json.loads(engine.run("skopeo", "inspect", "--raw", place).out)
    assert told["config"]["digest"] == ident
    layout = tmp_path / "layout"
    archive = packed_directory(layout) if layout.is_dir() else place.split(":")[1]
    gone(engine)
    engine.docker("load", stdin=archive) if isinstance(archive, bytes) else engine.docker("load", "-i", archive).ok()
    assert image_id(engine, base) == ident
    engine.docker("tag", base, NAMES[1]).ok()


def packed_directory(place: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(place, ".")
    return out.getvalue()


def test_skopeo_reads_our_layout(engine: Engine, base: str, saved: Path, tmp_path: Path) -> None:
    """The archive that we save is an OCI layout as well."""
    needs("skopeo")
    engine.run("skopeo", "--insecure-policy", "copy", "-q", f"oci-archive:{saved}:1", f"dir:{tmp_path}/dir").ok()
    manifest = json.loads((tmp_path / "dir" / "manifest.json").read_text())
    assert manifest["config"]["digest"] == image_id(engine, base)


def test_skopeo_by_the_daemon(engine: Engine, base: str, tmp_path: Path) -> None:
    needs("skopeo")
    ident = image_id(engine, base)
    copy = ["skopeo", "--insecure-policy", "copy", "-q"]
    place = f"docker-archive:{tmp_path}/out.tar:{base}"
    engine.run(*copy, "--src-daemon-host", engine.host, f"docker-daemon:{base}", place).ok()
    told = json.loads(engine.run("skopeo", "inspect", "--raw", place).out)
    assert told["config"]["digest"] == ident
    gone(engine)
    engine.run(*copy, "--dest-daemon-host", engine.host, place, f"docker-daemon:{base}").ok()
    assert image_id(engine, base) == ident
    engine.docker("tag", base, NAMES[1]).ok()


def test_umoci_unpacks_the_same_tree(engine: Engine, base: str, saved: Path, tmp_path: Path) -> None:
    needs("umoci")
    layout, bundle = tmp_path / "layout", tmp_path / "bundle"
    layout.mkdir()
    engine.run("tar", "-xf", saved, "-C", layout).ok()
    engine.run("umoci", "unpack", "--image", f"{layout}:1", bundle).ok()
    ident = engine.docker("create", base).out
    exported = tmp_path / "export.tar"
    engine.docker("export", "-o", exported, ident).ok()
    engine.docker("rm", ident).ok()
    ours, theirs = tree_of(exported), tree_at(bundle / "rootfs")
    for name in (".dockerenv", "etc", "etc/mtab", "etc/hosts", "etc/hostname", "etc/resolv.conf"):
        if name not in theirs:  # a container has it, an image need not
            assert ours.pop(name)[2] in (b"", b"/proc/mounts")
    assert ours == theirs


Tree = dict[str, tuple[object, ...]]


def tree_of(archive: Path) -> Tree:
    found: Tree = {}
    with tarfile.open(archive) as tar:
        for each in tar:
            name = each.name.strip("/")
            xattrs = {key: value for key, value in each.pax_headers.items() if key.startswith("SCHILY.xattr.")}
            content = tar.extractfile(each) if each.isreg() or each.islnk() else None
            target = tar.getmember(each.linkname) if each.islnk() else each
            found[name] = (
                stat.S_IFMT(_KINDS[target.type]) | target.mode,
                (target.uid, target.gid),
                content.read() if content else target.linkname.encode(),
                sorted(xattrs) if not each.islnk() else [],
                (target.devmajor, target.devminor) if target.ischr() else (),
                0 if target.isdir() or target.issym() else int(target.mtime),
            )
    found.pop("", None)
    found.pop(".", None)
    return found


_KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
}


def tree_at(root: Path) -> Tree:
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.fsencode(path.readlink())
        plain = stat.S_ISREG(status.st_mode) and (status.st_nlink == 1 or path.name == "f")
        xattrs = os.listxattr(path, follow_symlinks=False) if plain else []
        found[str(path.relative_to(root))] = (
            status.st_mode,
            (status.st_uid, status.st_gid),
            content,
            sorted(f"SCHILY.xattr.{name}" for name in xattrs),
            (os.major(status.st_rdev), os.minor(status.st_rdev)) if stat.S_ISCHR(status.st_mode) else (),
            0 if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode) else int(status.st_mtime),
        )
    return found


# ── other engines ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def dockerd(engine: Engine) -> Iterator[Dockerd]:
    needs("dockerd", "docker")
    options = ["--storage-driver", "vfs", "--bridge", "none", "--iptables=false"]
    with (
        tempfile.TemporaryDirectory(prefix="d-", dir="/tmp", ignore_cleanup_errors=True) as place,
        Dockerd(Path(place, "d"), Path(place, "r"), engine.net, "interchange", *options) as daemon,
    ):
        yield daemon


@pytest.fixture
def podman(engine: Engine) -> Iterator[Callable[..., str]]:
    needs("podman")
    with tempfile.TemporaryDirectory(prefix="p-", dir="/tmp", ignore_cleanup_errors=True) as place:
        places = ["--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp"]

        def run(*args: object) -> str:
            return engine.run("podman", *places, "--storage-driver", "vfs", *args).out

        yield run


def test_dockerd_takes_ours_and_we_take_its(
    engine: Engine, base: str, saved: Path, dockerd: Dockerd, tmp_path: Path
) -> None:
    """20.10 saves in the old form."""
    ident = image_id(engine, base)
    dockerd.docker("load", "-i", saved)
    assert dockerd.docker("inspect", "-f", "{{.Id}}", *NAMES).split() == [ident, ident]
    mine = json.loads(engine.docker("image", "inspect", base).out)[0]
    theirs = json.loads(dockerd.docker("image", "inspect", base))[0]
    assert theirs["RootFS"] == mine["RootFS"]
    assert theirs["Config"]["Cmd"] == mine["Config"]["Cmd"] == ["/tool"]
    dockerd.docker("save", "-o", tmp_path / "theirs.tar", *NAMES)
    gone(engine)
    engine.docker("load", "-i", tmp_path / "theirs.tar").ok()
    assert {image_id(engine, name) for name in NAMES} == {ident}
    dockerd.docker("rmi", "-f", *NAMES)


def test_podman_takes_ours_and_we_take_its(
    engine: Engine, base: str, saved: Path, podman: Callable[..., str], tmp_path: Path
) -> None:
    ident = image_id(engine, base)
    podman("load", "-i", saved)
    name = NAMES[1]
    assert podman("inspect", "-f", "{{.Id}}", name) == ident.removeprefix("sha256:")
    mine = json.loads(engine.docker("image", "inspect", base).out)[0]
    for form in ("docker-archive", "oci-archive"):
        archive = tmp_path / f"{form}.tar"
        podman("save", "-q", "--format", form, "-o", archive, name)
        gone(engine)
        engine.docker("load", "-i", archive).ok()
        theirs = json.loads(engine.docker("image", "inspect", name).out)[0]
        assert (theirs["RootFS"], theirs["Config"]["Cmd"]) == (mine["RootFS"], mine["Config"]["Cmd"])
        # What podman took as a Docker image has another configuration as an OCI image.
        assert (theirs["Id"] == ident) is (form == "docker-archive")
        engine.docker("tag", name, base).ok()
