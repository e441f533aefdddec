"""Archives of every known kind come in whole; broken and hostile ones leave nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from sampan.errors import Invalid, NotFound, SampanError, Unsupported
from sampan.images.layers import chain_ids
from unit.images.image_archives import Files, config_of, layout, old_docker, sha, tar_of
from unit.images.image_house import House

LOWER = tar_of({"etc": None, "etc/a": b"lower", "gone": b"x"})
UPPER = tar_of({"etc/a": b"upper", "b": b"new", ".wh.gone": b""})
TREE = {"etc/a": b"upper", "b": b"new"}

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Pipe(io.RawIOBase):
    """A stream that can only be read, in small pieces, as from a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(len(buffer), 4099))
        buffer[: len(data)] = data
        return len(data)


def load(house: House, files: Files | bytes) -> list[str]:
    data = files if isinstance(files, bytes) else tar_of(files)
    return house.images.load(Pipe(data))  # type: ignore[arg-type]


def test_loads_an_archive_of_docker_20(house: House) -> None:
    messages: list[dict[str, Any]] = []
    assert house.images.load(io.BytesIO(tar_of(old_docker(LOWER, UPPER))), messages.append) == ["old:1"]
    assert house.tree("old:1") == TREE
    image = house.images.get("old:1")
    assert image.id == "sha256:" + sha(config_of(LOWER, UPPER))
    assert image.size == len(b"lower") + len(b"x") + len(b"upper") + len(b"new")
    assert image.created == "2024-05-06T07:08:09.123456789Z"
    assert [each["stream"] for each in messages if "stream" in each] == ["Loaded image: old:1\n"]
    assert house.actions() == ["load"]


@pytest.mark.parametrize("nested", [False, True])
def test_loads_an_oci_layout(house: House, nested: bool) -> None:
    packed = gzip.compress(LOWER), zstandard.compress(UPPER)
    assert load(house, layout(*packed, diff=(LOWER, UPPER), nested=nested)) == ["oci:1"]
    assert house.tree("oci:1") == TREE
    assert [layer.digest for layer in house.images.get("oci:1").layers] == [f"sha256:{sha(each)}" for each in packed]


@pytest.mark.parametrize("name", PACKERS)
def test_layers_and_archives_may_be_compressed(house: House, name: str) -> None:
    pack = PACKERS[name]
    files = old_docker(pack(LOWER), pack(UPPER), config=config_of(LOWER, UPPER))
    assert load(house, pack(tar_of(files))) == ["old:1"]
    assert house.tree("old:1") == TREE
    assert house.tree("old:1", "second") == TREE


def test_layers_may_be_links_to_one_another(house: House) -> None:
    files = old_docker(LOWER, LOWER)
    link = next(name for name in reversed(files) if name.endswith("layer.tar"))
    first = next(name for name in files if name.endswith("layer.tar"))

    def edit(info: tarfile.TarInfo) -> None:
        if info.name == link:
            info.type, info.linkname, info.size = tarfile.SYMTYPE, f"../{first}", 0

    assert load(house, tar_of(files, edit)) == ["old:1"]
    assert len(house.images.get("old:1").layers) == 2


def test_several_images_share_layers_and_stay_whole_when_one_goes(house: House) -> None:
    one, two = old_docker(LOWER, tags=("one:1",)), old_docker(LOWER, UPPER, tags=("two:1", "host.example/three"))
    entries = [*json.loads(one["manifest.json"] or b""), *json.loads(two["manifest.json"] or b"")]
    names = load(house, {**one, **two, "manifest.json": json.dumps(entries).encode()})
    assert names == ["one:1", "two:1", "host.example/three:latest"]
    assert house.drivers["first"].begun == chain_ids(["sha256:" + sha(LOWER), "sha256:" + sha(UPPER)])
    house.images.remove("one:1")
    assert house.tree("two:1", "second") == TREE


def test_an_image_without_a_name_is_told_by_its_id(house: House) -> None:
    image = "sha256:" + sha(config_of(LOWER))
    assert load(house, old_docker(LOWER, tags=())) == [image]
    assert house.images.get(image[7:19]).references == []


def test_loading_again_moves_the_name(house: House) -> None:
    load(house, old_docker(LOWER))
    messages: list[dict[str, Any]] = []
    house.images.load(io.BytesIO(tar_of(old_docker(UPPER))), messages.append)
    before = "sha256:" + sha(config_of(LOWER))
    assert f"The image old:1 already exists, renaming the old one with ID {before} to empty string\n" in [
        each.get("stream") for each in messages
    ]
    assert house.images.get(before).references == []
    assert house.images.get("old:1").id != before


def test_loading_the_same_again_changes_nothing(house: House) -> None:
    load(house, old_docker(LOWER, UPPER))
    before = house.files()
    load(house, layout(gzip.compress(LOWER), gzip.compress(UPPER), diff=(LOWER, UPPER), name="again:1"))
    assert house.files() == before
    assert house.images.get("again:1").references == ["docker.io/library/again:1", "docker.io/library/old:1"]


def test_an_image_without_layers(house: House) -> None:
    assert load(house, old_docker()) == ["old:1"]
    assert house.images.layer_for(house.images.get("old:1")) is None


def without(files: Files, end: str) -> Files:
    return {name: data for name, data in files.items() if not name.endswith(end)}


def changed(files: Files, end: str, data: bytes) -> Files:
    return {name: data if name.endswith(end) else old for name, old in files.items()}


GOOD = old_docker(LOWER, UPPER)
PLAIN = tar_of(GOOD)
LAYOUT = layout(LOWER, UPPER)
HOSTILE = tar_of({"../escaped": b"x"})


def odd(kind: bytes, name: str = "odd", link: str = "") -> bytes:
    def edit(info: tarfile.TarInfo) -> None:
        if info.name == name:
            info.type, info.linkname = kind, link

    return tar_of({**GOOD, name: b""}, edit)


BROKEN: dict[str, tuple[Files | bytes, str]] = {
    "not a tar": (b"what is this" * 1000, "this is not an image archive: it is not a tar"),
    "empty": (b"", "this is not an image archive"),
    "a root file system": (tar_of({"etc/passwd": b"root"}), "for import"),
    "truncated in a layer": (PLAIN[:3000], "it ends in the middle of|bad checksum after"),
    "truncated in a header": (PLAIN[: 2048 + 100], "it ends in the middle of|bad checksum after"),
    "damaged header": (PLAIN[:1536] + b"\xff" * 512 + PLAIN[2048:], "it ends in the middle of|bad checksum after"),
    "truncated gzip": (gzip.compress(PLAIN)[:300], "ends too early"),
    "missing layer": (without(GOOD, "layer.tar"), "lacks the file .*layer.tar.*manifest.json"),
    "missing configuration": (
        {name: data for name, data in GOOD.items() if len(name) != 69},
        "lacks the file .*json.*manifest.json",
    ),
    "swapped layer": (changed(GOOD, "layer.tar", LOWER), "does not match its image: expected diff id"),
    "wrong configuration": (
        {name: b"{}" if len(name) == 69 else data for name, data in GOOD.items()},
        "is damaged: its digest is",
    ),
    "manifest is no JSON": (changed(GOOD, "manifest.json", b"[{"), '"manifest.json" in the archive is not as it'),
    "manifest is too large": (changed(GOOD, "manifest.json", b" " * (5 << 20)), "too many for a manifest"),
    "manifest of another shape": (changed(GOOD, "manifest.json", b'[{"Config": 1}]'), "Config"),
    "manifest without images": (changed(GOOD, "manifest.json", b"[]"), "names no image"),
    "bad name": (old_docker(LOWER, tags=("Bad Name",)), "invalid reference format"),
    "more names than anybody has": (old_docker(LOWER, tags=("x:1",) * 5000), "5000 names, and 4096 is the most"),
    "name with a digest": (old_docker(LOWER, tags=("x@sha256:" + "a" * 64,)), 'invalid tag "x@sha256:'),
    "fewer layers than diff ids": (old_docker(LOWER, config=config_of(LOWER, UPPER)), "2 diff ids for 1 layers"),
    "diff id that is none": (
        old_docker(LOWER, config=config_of(LOWER, rootfs={"type": "layers", "diff_ids": ["../x"]})),
        "is not a digest",
    ),
    "typed wrongly": (old_docker(LOWER, config=config_of(LOWER, config={"Env": "PATH"})), "configuration is not as"),
    "author of another type": (old_docker(LOWER, config=config_of(LOWER, author=3)), "author"),
    "health of another type": (
        old_docker(LOWER, config=config_of(LOWER, config={"Healthcheck": {"Test": "x"}})),
        "Healthcheck.Test",
    ),
    "health of larger numbers": (
        old_docker(LOWER, config=config_of(LOWER, config={"Healthcheck": {"Retries": 1 << 63}})),
        "Healthcheck.Retries",
    ),
    **{
        f"made {when}": (old_docker(LOWER, config=config_of(LOWER, created=when)), "created is '.*', not a time")
        for when in ("yesterday", "0000-00-00T00:00:00Z", "2030-02-30T00:00:00Z", "2030-01-01T00:00:00", "1700000000")
    },
    "hostile layer": (old_docker(LOWER, HOSTILE), "escaped"),
    "layer is no tar": (old_docker(LOWER, b"x" * 2000), "tar"),
    "path outside": (odd(tarfile.REGTYPE, "../escaped"), "leads outside"),
    "absolute path": (odd(tarfile.REGTYPE, "/etc/escaped"), "leads outside"),
    "link outside": (odd(tarfile.SYMTYPE, link="../../etc/passwd"), "leads outside"),
    "absolute link": (odd(tarfile.SYMTYPE, link="/etc/passwd"), "leads outside"),
    "hard link outside": (odd(tarfile.LNKTYPE, link="../etc/passwd"), "leads outside"),
    "device": (odd(tarfile.CHRTYPE), "device or pipe"),
    "link to itself": (odd(tarfile.SYMTYPE, "manifest.json", "manifest.json"), "neither manifest.json"),
    "damaged blob": (changed(LAYOUT, sha(UPPER), UPPER[:-1] + b"x"), f"blob sha256:{sha(UPPER)} .* is damaged"),
    "missing blob": (without(LAYOUT, sha(UPPER)), f"lacks the file .*{sha(UPPER)}"),
    "only other machines": (
        changed(
            layout(LOWER),
            "index.json",
            json.dumps({"manifests": [{"digest": "sha256:" + "0" * 64, "mediaType": "x"}]}).encode(),
        ),
        "lacks the file",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_leaves_nothing(house: House, case: str) -> None:
    load(house, old_docker(LOWER, tags=("kept:1",)))
    before, known = house.files(), house.images.list()
    files, sentence = BROKEN[case]
    with pytest.raises(Invalid, match=sentence):
        load(house, files)
    assert house.files() == before
    assert house.images.list() == known
    load(house, GOOD)
    assert house.tree("old:1") == TREE


@pytest.mark.parametrize("end", range(0, len(PLAIN) - 1024, 1000))
def test_truncated_anywhere_is_refused(house: House, end: int) -> None:
    with pytest.raises(Invalid):
        load(house, PLAIN[:end])
    assert not house.files()


def test_one_broken_image_keeps_all_of_an_archive_out(house: House) -> None:
    one, two = old_docker(LOWER, tags=("one:1",)), old_docker(LOWER, HOSTILE, tags=("two:1",))
    entries = [*json.loads(one["manifest.json"] or b""), *json.loads(two["manifest.json"] or b"")]
    with pytest.raises(Invalid, match="escaped"):
        load(house, {**two, **one, "manifest.json": json.dumps(entries).encode()})
    assert (house.images.list(), house.files(), house.actions()) == ([], set(), [])


def test_another_operating_system_is_told(house: House) -> None:
    with pytest.raises(Unsupported, match="cannot load windows image on linux"):
        load(house, old_docker(LOWER, config=config_of(LOWER, os="windows")))


def test_blobs_that_an_image_is_not_made_of_any_more_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was loaded by two at once, from archives that hold the same layers in other forms."""
    packed = gzip.compress(LOWER), gzip.compress(UPPER)
    keep = house.images._intake.keep

    def overtaken(*args: Any) -> str:
        monkeypatch.undo()
        load(house, old_docker(LOWER, UPPER))
        return keep(*args)

    monkeypatch.setattr(house.images._intake, "keep", overtaken)
    load(house, layout(*packed, diff=(LOWER, UPPER)))
    assert house.tree("old:1") == house.tree("oci:1") == TREE
    blobs = {name.rpartition("/")[2] for name in house.files() if name.startswith("content/blobs/")}
    assert blobs == {sha(config_of(LOWER, UPPER)), *map(sha, packed)}


def test_a_layout_gives_no_name_with_a_digest(house: House) -> None:
    name = "x@sha256:" + "a" * 64
    [ident] = load(house, layout(LOWER, name=name))
    assert house.images.get(ident).references == house.images.get(ident).repo_digests == []


def test_a_header_that_would_fill_the_memory_is_refused(house: House) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with pytest.raises(Invalid, match="extended header of impossible size"):
        load(house, info.tobuf() + b"a" * 100_000)


# ── import ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pack", [bytes, *PACKERS.values()])
def test_imports_a_root_file_system(house: House, pack: Callable[[bytes], bytes]) -> None:
    image = house.images.import_(
        Pipe(pack(LOWER)),  # type: ignore[arg-type]
        reference="plain",
        changes=['CMD ["sh", "-l"]', "ENV A=1"],
        message="mine",
    )
    assert image.references == ["docker.io/library/plain:latest"]
    assert image.config["config"] == {"Cmd": ["sh", "-l"], "Env": ["A=1"]}
    assert image.layers[0].digest == image.layers[0].diff_id == "sha256:" + sha(LOWER)
    assert house.tree("plain") == {"etc/a": b"lower", "gone": b"x"}
    assert [(row["Comment"], row["Size"], row["Tags"]) for row in house.images.history("plain")] == [
        ("mine", 6, ["plain:latest"])
    ]
    assert house.actions() == ["import", "tag"]


@pytest.mark.parametrize("data", [b"", b"no tar" * 500, HOSTILE, LOWER[:700], gzip.compress(LOWER, mtime=0)[:50]])
def test_a_broken_import_leaves_nothing(house: House, data: bytes) -> None:
    with pytest.raises(Invalid):
        house.images.import_(Pipe(data), reference="x")  # type: ignore[arg-type]
    assert (house.files(), house.images.list()) == (set(), [])


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [({"reference": "A B"}, Invalid), ({"changes": ["RUN x"]}, Invalid), ({"platform": "windows/amd64"}, Unsupported)],
)
def test_a_wrong_wish_is_told_before_anything_is_read(house: House, arguments: Any, kind: type[SampanError]) -> None:
    stream = io.BytesIO(LOWER)
    with pytest.raises(kind):
        house.images.import_(stream, **arguments)
    assert stream.tell() == 0


# ── after a crash ──────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_crash_left_is_gone_after_opening(house: House) -> None:
    load(house, old_docker(LOWER))
    before = house.files()
    blobs = house.root / "content"
    (blobs / "blobs" / "sha256" / sha(b"orphan")).write_bytes(b"orphan")
    (blobs / "ingest" / "half").write_bytes(b"half")
    house.state.close()
    house.open()
    assert house.files() == before
    assert house.tree("old:1") == {"etc/a": b"lower", "gone": b"x"}
    assert house.images.get("old:1").size == 6


def test_a_layer_that_the_driver_lost_is_unpacked_again(house: House) -> None:
    load(house, old_docker(LOWER, UPPER))
    house.state.close()
    house.drivers["first"].restore(set(), set())
    house.open()
    assert house.tree("old:1") == TREE


def test_an_unknown_image(house: House) -> None:
    for text, told in (("x", "x:latest"), ("a:b", "a:b"), ("sha256:" + "0" * 64, "sha256:" + "0" * 64), ("0" * 12, "")):
        with pytest.raises(NotFound, match=f"^No such image: {told}"):
            house.images.get(text)
