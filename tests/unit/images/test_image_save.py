"""What is saved comes back the same, here and in other engines."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import NotFound, Unavailable
from sampan.images.configuration import seconds
from sampan.images.layers import chain_ids
from unit.images.image_archives import config_of, layout, old_docker, sha, tar_of
from unit.images.image_house import House

LOWER = tar_of({"etc": None, "etc/a": b"lower"})
UPPER = tar_of({"b": b"new"})


@pytest.fixture
def full(house: House) -> House:
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, UPPER, tags=("x:1",)))))
    house.images.tag("x:1", "x:2")
    packed = gzip.compress(UPPER)
    house.images.load(io.BytesIO(tar_of(layout(packed, diff=(UPPER,), name="host.example/y:1"))))
    return house


def saved(house: House, *names: str) -> bytes:
    out = io.BytesIO()
    house.images.save(names, out)
    return out.getvalue()


def contents(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def test_saving_and_loading_gives_the_same_images(full: House, tmp_path: Path) -> None:
    data = saved(full, "x", "host.example/y:1")
    other = House(tmp_path / "other")
    assert other.images.load(io.BytesIO(data)) == ["x:1", "x:2", "host.example/y:1"]
    assert {each.id for each in other.images.list()} == {each.id for each in full.images.list()}
    assert other.tree("x:2") == {"etc/a": b"lower", "b": b"new"}
    assert saved(other, "x", "host.example/y:1") == data
    other.state.close()


def test_an_archive_without_the_docker_manifest_is_an_oci_layout(full: House, tmp_path: Path) -> None:
    data = saved(full, "x:1", "host.example/y:1")
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if member.name != "manifest.json":
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
    other = House(tmp_path / "other")
    assert other.images.load(io.BytesIO(out.getvalue())) == ["x:1", "host.example/y:1"]
    other.state.close()


def test_only_the_names_asked_for_are_saved(full: House) -> None:
    image = full.images.get("x:1").id
    for name, tags in (("x:2", ["x:2"]), (image[7:19], None), (image, None), ("x", ["x:1", "x:2"])):
        manifest = json.loads(contents(saved(full, name), "manifest.json"))
        assert [each["RepoTags"] for each in manifest] == [tags]


def test_what_an_image_was_made_of_comes_back_with_it(house: House, tmp_path: Path) -> None:
    def config(*layers: bytes) -> bytes:
        return config_of(*layers, history=[{"created_by": str(count)} for count in range(len(layers))])

    def one(*layers: bytes, name: str, parent: str = "") -> None:
        files = old_docker(*layers, tags=(name,), config=config(*layers))
        [entry] = json.loads(files["manifest.json"] or b"")
        told = json.dumps([entry | {"Parent": parent}]).encode()
        house.images.load(io.BytesIO(tar_of({**files, "manifest.json": told})))

    one(LOWER, name="base:1", parent="sha256:" + sha(config(LOWER, UPPER)))
    base = house.images.get("base:1").id
    one(LOWER, UPPER, name="top:1", parent=base)
    assert house.images.get("base:1").parent == "", "not what comes later, and nothing in a circle"
    assert house.images.get("top:1").parent == base
    one(UPPER, LOWER, name="other:1", parent=base)
    assert house.images.get("other:1").parent == "", "it does not stand on that"
    other = House(tmp_path / "other")
    other.images.load(io.BytesIO(saved(house, "top:1", "base:1")))
    assert other.images.get("top:1").parent == base
    assert [row["Id"] for row in other.images.history("top:1")] == [other.images.get("top:1").id, base]
    assert "Parent" not in json.loads(contents(saved(house, "top:1"), "manifest.json"))[0]
    other.state.close()


def test_repositories_name_the_topmost_layers(full: House) -> None:
    found = json.loads(contents(saved(full, "x", "host.example/y:1"), "repositories"))
    assert found == {"x": {"1": sha(UPPER), "2": sha(UPPER)}, "host.example/y": {"1": sha(gzip.compress(UPPER))}}
    with pytest.raises(KeyError):
        contents(saved(full, full.images.get("x:1").id), "repositories")


def test_what_is_removed_meanwhile_is_saved_all_the_same(house: House) -> None:
    class Remover(io.BytesIO):
        def write(self, data: Any, /) -> int:
            if not self.tell():
                house.images.remove("x:1")
                house.images.remove("x:2")
            return super().write(data)

    house.images.load(io.BytesIO(tar_of(old_docker(tar_of({"big": bytes(3 << 20)}), LOWER, tags=("x:1", "x:2")))))
    out = Remover()
    house.images.save(["x"], out)
    assert not house.files(), "it went when it was saved"
    assert house.images.load(io.BytesIO(out.getvalue())) == ["x:1", "x:2"]


def test_what_cannot_be_saved_is_told(full: House) -> None:
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        saved(full, "nothing")
    blob = full.root / "content" / "blobs" / "sha256" / sha(LOWER)
    blob.unlink()
    with pytest.raises(Unavailable, match="is not kept as a blob"):
        saved(full, "x:1")


@pytest.mark.skipif(not shutil.which("skopeo") or not shutil.which("umoci"), reason="needs skopeo and umoci")
def test_skopeo_and_umoci_read_what_is_saved_and_their_archives_are_read(full: House, tmp_path: Path) -> None:
    (tmp_path / "saved.tar").write_bytes(saved(full, "x:1"))

    def copy(source: str, target: str) -> None:
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, target], cwd=tmp_path, check=True)

    copy("docker-archive:saved.tar:x:1", "oci:layout:x")
    copy("oci-archive:saved.tar:1", "docker-archive:theirs.tar:theirs:1")
    copy("oci:layout:x", "oci-archive:theirs-oci.tar:theirs-oci:2")
    subprocess.run(["umoci", "unpack", "--rootless", "--image", "layout:x", "bundle"], cwd=tmp_path, check=True)
    assert (tmp_path / "bundle" / "rootfs" / "etc" / "a").read_bytes() == b"lower"
    for name, loaded in (("theirs.tar", "theirs:1"), ("theirs-oci.tar", "theirs-oci:2")):
        with (tmp_path / name).open("rb") as stream:
            assert full.images.load(stream) == [loaded]
        assert full.tree(loaded) == full.tree("x:1")
    assert full.images.get("theirs:1").id == full.images.get("x:1").id


def test_chain_ids_are_those_of_the_specification() -> None:
    one, two, three = ("sha256:" + sha(each) for each in (b"1", b"2", b"3"))
    second = sha(f"{one} {two}".encode())
    assert chain_ids([one, two, three]) == [one[7:], second, sha(f"sha256:{second} {three}".encode())]


def test_history_has_a_row_per_step(house: House) -> None:
    steps = [
        {"created": "2024-01-01T00:00:00Z", "created_by": "ADD"},
        {"created": "2024-01-01T00:00:01.123456789+01:00", "created_by": "ENV", "empty_layer": True, "comment": "c"},
        {"created_by": "RUN"},
    ]
    config = json.loads(tar_config(LOWER, UPPER)) | {"history": steps}
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, UPPER, config=json.dumps(config).encode()))))
    rows = house.images.history("old:1")
    assert [(row["CreatedBy"], row["Size"], row["Comment"]) for row in rows] == [
        ("RUN", 3, ""),
        ("ENV", 0, "c"),
        ("ADD", 5, ""),
    ]
    assert [row["Id"] for row in rows] == [house.images.get("old:1").id, "<missing>", "<missing>"]
    assert [row["Created"] for row in rows] == [0, 1704063601, 1704067200]


def tar_config(*layers: bytes) -> bytes:
    files = old_docker(*layers)
    return next(data or b"" for name, data in files.items() if len(name) == 69 and name.endswith(".json"))


@pytest.mark.parametrize("text", ["", "soon", "2024-13-01T00:00:00Z", "9999-99-99"])
def test_a_time_that_is_none_is_zero(text: str) -> None:
    assert seconds(text) == 0
