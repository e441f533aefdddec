"""Archives that mean harm, through both command lines: one sentence, nothing half-visible, a good one still works."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from harness import Engine, Result
from sampan.testing.archives import Archive
from unit.images.image_archives import Files, config_of, layout, old_docker, tar_of

pytestmark = pytest.mark.root

LIMIT = 48 << 20
GOOD = tar_of({"etc": None, "etc/motd": b"aboard"})


def one(add: Callable[[Archive], Archive], **options: object) -> bytes:
    return add(Archive(**options)).bytes()


def field(offset: int, value: bytes) -> bytes:
    """A tar whose first header has another field, and the checksum that goes with it."""
    data = bytearray(GOOD)
    data[offset : offset + len(value)] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def huge_pax() -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 20
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(8 << 20) + GOOD


def sparse(size: int) -> bytes:
    pax = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "s", "GNU.sparse.size": str(size)}
    pax |= {"GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "1"}
    return one(lambda tar: tar.file("s", b"x", pax_headers=pax), format=tarfile.PAX_FORMAT)


LAYERS = {
    "climbs out": (tar_of({"../escaped": b"x"}), "outside of the image"),
    "climbs out in the middle": (tar_of({"a/../../escaped": b"x"}), "outside of the image"),
    "hard link to outside": (one(lambda tar: tar.hard_link("h", "../../../etc/passwd")), "outside of the image"),
    "hard link through a link": (
        one(lambda tar: tar.symlink("l", "/proc/self/root/etc").hard_link("h", "l/hostname")),
        "which is no directory",
    ),
    "file below a file": (tar_of({"a": b"x", "a/b": b"y"}), "no directory|cannot be made"),
    "the root is a file": (one(lambda tar: tar.file("/", b"x")), "root directory|without a name"),
    "whiteout of the root": (tar_of({".wh...": b"", ".wh..": b""}), "names no file"),
    "truncated": (GOOD[:1500], "truncated|ends in the middle"),
    "damaged": (b"\xff" * 512 + GOOD, "no tar|damaged"),
    "octal garbage": (field(124, b"9999999x\0"), "number that is none"),
    "negative size": (field(124, b"\xff" * 11 + b"\xfe"), "impossible size"),
    "huge extended header": (huge_pax(), "impossible size"),
    "sparse bomb": (sparse(1 << 40), r"images\.layer_size"),
    "too many entries": (tar_of({f"f{n}": b"" for n in range(1001)}), r"images\.layer_entries"),
    "name of 5000 bytes": (tar_of({"/".join(["n" * 99] * 50): b"x"}), "longer than 4095"),
    "gzip bomb": (gzip.compress(bytes(LIMIT + 1)), r"images\.layer_size"),
    "zstd bomb": (zstandard.ZstdCompressor().compress(bytes(LIMIT + 1)), r"images\.layer_size"),
    "xz bomb": (lzma.compress(bytes(LIMIT + 1), preset=0), r"images\.layer_size"),
    "bzip2 bomb": (bz2.compress(bytes(LIMIT + 1), 1), r"images\.layer_size"),
    "truncated gzip": (gzip.compress(GOOD)[:-20], "truncated"),
    "bit flipped gzip": (gzip.compress(GOOD)[:40] + b"\xff\xff" + gzip.compress(GOOD)[42:], "damaged|truncated"),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(images={"layer_size": "48m", "layer_entries": 1000}) as made:
        yield made


@pytest.mark.parametrize("case", LAYERS)
def test_a_hostile_layer(engine: Engine, tmp_path: Path, case: str) -> None:
    layer, sentence = LAYERS[case]
    before = blobs(engine)
    (tmp_path / "layer").write_bytes(layer)
    (tmp_path / "image.tar").write_bytes(tar_of(old_docker(GOOD, layer, tags=("hostile:1",))))
    clients = [engine.docker, engine.sampan]
    one, other = clients if list(LAYERS).index(case) % 2 else reversed(clients)  # both get all of both kinds
    refused(one("import", str(tmp_path / "layer"), "hostile:2"), sentence)
    refused(other("load", "-i", str(tmp_path / "image.tar")), sentence)
    assert "hostile" not in engine.docker("images", "-a").stdout
    assert blobs(engine) == before


def test_a_good_one_works_afterwards(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(tar_of(layout(GOOD, name="good:1")))
    assert "good:1" in engine.docker("load", "-i", str(tmp_path / "image.tar")).stdout
    engine.docker("rmi", "good:1")


def test_what_is_odd_but_no_harm(engine: Engine, tmp_path: Path) -> None:
    """Names that are not UTF-8, or as long as can be, entries that come twice, absolute names, attributes that would
    steer the overlay."""
    pax = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.kept": "yes"}
    odd = Archive(format=tarfile.PAX_FORMAT).file("/abs", b"1").file("twice", b"1").file("twice", b"2")
    odd.file("suid", b"x", mode=0o4755).device("null", 1, 3).fifo("pipe").file("plain", b"", pax_headers=pax)
    longest = "/".join(["n" * 255] * 16)
    assert len(longest) == 4095
    odd.symlink("out", "/etc").file("n\udcff", b"x").file(longest, b"far")
    (tmp_path / "odd").write_bytes(odd.bytes())
    engine.docker("import", str(tmp_path / "odd"), "odd:1").ok()
    engine.docker("create", "--name", "odd", "odd:1", "x").ok()
    engine.docker("export", "-o", str(tmp_path / "out.tar"), "odd").ok()
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.extractfile("twice").read() == b"2"  # type: ignore[union-attr]
        assert tar.getmember("suid").mode == 0o4755
        assert tar.getmember("null").ischr()
        assert "n\udcff" in tar.getnames()
        assert tar.extractfile(longest).read() == b"far"  # type: ignore[union-attr]
        assert tar.getmember("plain").pax_headers.get("SCHILY.xattr.user.kept") == "yes"
        assert "SCHILY.xattr.trusted.overlay.redirect" not in tar.getmember("plain").pax_headers
    engine.docker("rm", "odd")
    engine.docker("rmi", "odd:1")


def test_an_image_of_two_hundred_layers_runs(engine: Engine, tmp_path: Path) -> None:
    engine.image()
    engine.docker("save", "-o", str(tmp_path / "shell.tar"), "shell").ok()
    with tarfile.open(tmp_path / "shell.tar") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        base = [tar.extractfile(name).read() for name in manifest["Layers"]]  # type: ignore[union-attr]
        config = json.load(tar.extractfile(manifest["Config"]))  # type: ignore[arg-type]
    layers = base + [tar_of({f"l{n}": b"%d" % n}) for n in range(200 - len(base))]
    files: Files = old_docker(*layers, tags=("deep:1",), config=config_of(*layers, config=config["config"]))
    (tmp_path / "deep.tar").write_bytes(tar_of(files))
    engine.docker("load", "-i", str(tmp_path / "deep.tar"), timeout=100).ok()
    done = engine.docker("run", "--rm", "deep:1", "sh", "-c", "cat /l0 /l198; ls / | grep -c '^l[0-9]'")
    assert done.stdout.split() == ["0198199"]
    engine.docker("rmi", "deep:1")


def test_what_is_kept_is_verified_on_demand(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(tar_of(layout(GOOD, name="kept:1")))
    engine.docker("load", "-i", str(tmp_path / "image.tar")).ok()
    done = engine.sampan("image", "verify", "kept:1").ok()
    assert re.fullmatch(r"kept:1 \([0-9a-f]{12}\): whole\n", done.stdout)
    blob = engine.data / "content/blobs/sha256" / hashlib.sha256(GOOD).hexdigest()
    blob.write_bytes(GOOD[:-1] + b"x")
    done = engine.sampan("image", "verify")
    assert done.code == 1
    assert f"the stored blob sha256:{blob.name} is damaged" in done.stdout
    engine.docker("rmi", "kept:1").ok()
    engine.docker("load", "-i", str(tmp_path / "image.tar")).ok()
    engine.sampan("image", "verify", "kept:1").ok()
    engine.docker("rmi", "kept:1").ok()


def refused(done: Result, sentence: str) -> None:
    text = (done.stderr + done.stdout).strip()
    assert done.code != 0, text
    assert re.search(sentence, text), text
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 2, text


def blobs(engine: Engine) -> set[str]:
    return {each.name for each in (engine.data / "content").rglob("*") if each.is_file()}
