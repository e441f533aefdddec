"""Layers that are unpacked while they come in: they are whole and in their place, or they have never been."""

from __future__ import annotations

import gzip
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.drivers.types import StorageFeatures
from sampan.errors import Conflict, Invalid, NotFound, Unavailable
from sampan.images.confined.growing import Growing, Growth
from sampan.images.confined.workers import Second, Unpacked
from sampan.images.content import digest_of
from sampan.images.layers import chain_ids
from unit.images.image_archives import Files, layout, old_docker, tar_of
from unit.images.image_house import WORKERS, Directories, House

PATIENCE = 30.0
LARGE = os.urandom(200_000)
LOWER = tar_of({"first": b"1", "large": LARGE, "gone": b"x"})
UPPER = tar_of({"second": b"2", "large": LARGE[::-1]})


class Placing(Directories):
    """Layers are directories beside one another, of which each shows only what is its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.placed: list[str] = []

    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="overlay", places=True)

    def begin_layer(self, layer: str, parent: str | None) -> Path:
        directory = super().begin_layer(layer, None)
        (self.root / f"{layer}.parent").write_text(parent or "")
        return directory

    def place_layer(self, begun: str, layer: str, parent: str | None) -> None:
        if layer in self.parents:
            raise Conflict(layer)
        if not (self.root / begun).is_dir():
            raise NotFound(begun)
        (self.root / begun).rename(self.root / layer)
        (self.root / f"{begun}.parent").unlink()
        (self.root / f"{layer}.parent").write_text(parent or "")
        self.placed.append(layer)


@pytest.fixture
def placing(house: House) -> Placing:
    driver = Placing(house.root / "first")
    house.drivers["first"] = driver
    return driver


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Arriving:
    """A blob that a test writes piece by piece, and its unpacking in another thread."""

    def __init__(self, place: Path, second: Second = None) -> None:
        self._second = second
        self.growth = Growth()
        self.results: list[Unpacked | Exception] = []
        self.directory = place / "layer"
        self.directory.mkdir()
        self._file = (place / "blob").open("wb", buffering=0)
        self._thread = threading.Thread(target=self._unpack, args=(place / "blob",))
        self._thread.start()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.growth.grew(len(data))

    def over(self) -> Unpacked | Exception:
        self._thread.join(PATIENCE)
        self._file.close()
        self.growth.close()
        [result] = self.results
        return result

    def _unpack(self, path: Path) -> None:
        try:
            with path.open("rb", buffering=0) as blob:
                growth, second = self.growth, self._second
                done = WORKERS.unpack(
                    blob.fileno(), self.directory, "overlay", hashed=False, growth=growth, second=second
                )
            self.results.append(done)
        except Exception as error:
            self.results.append(error)


@pytest.fixture
def arriving(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Arriving]:
    made = Arriving(tmp_path, getattr(request, "param", None))
    yield made
    made.growth.give_up()


@pytest.mark.parametrize(
    ("arriving", "pack"),
    [(None, bytes), ("fills", bytes), (None, gzip.compress), ("inflates", gzip.compress)],
    indirect=["arriving"],
    ids=["plain", "plain by two", "gzip", "gzip by two"],
)
def test_what_is_there_is_unpacked_before_the_rest_has_come(arriving: Arriving, pack: Callable[[bytes], bytes]) -> None:
    tar = tar_of({"first": b"1", "large": LARGE * 15, "gone": b"x"})
    blob = pack(tar)
    arriving.write(blob[:100])
    arriving.write(blob[100:-100_000])
    until(lambda: (arriving.directory / "first").exists())
    assert not (arriving.directory / "gone").exists()
    assert arriving.results == []
    arriving.write(blob[-100_000:])
    arriving.growth.end()
    assert arriving.over() == Unpacked(15 * len(LARGE) + 2, digest_of(tar) if pack is gzip.compress else "")
    assert (arriving.directory / "large").read_bytes() == LARGE * 15


def test_what_ends_early_is_truncated(arriving: Arriving) -> None:
    arriving.write(LOWER[:5000])
    arriving.growth.end()
    result = arriving.over()
    assert isinstance(result, Invalid)
    assert "truncated" in result.message


def test_what_is_given_up_is_not_waited_for(arriving: Arriving) -> None:
    arriving.write(LOWER[:5000])
    arriving.growth.give_up()
    result = arriving.over()
    assert isinstance(result, Unavailable)
    assert "given up" in result.message


@pytest.mark.parametrize("arriving", ["inflates"], indirect=True)
@pytest.mark.parametrize(
    ("tar", "harm", "sentence"),
    [
        (LOWER, lambda blob: blob[:-4000], "truncated"),
        (LOWER, lambda blob: blob[:3000] + bytes(3000) + blob[6000:], "the gzip data is damaged"),
        (tar_of({"a": b"x", "../b": b"x", "large": LARGE}), bytes, "outside of the image"),
    ],
    ids=["short", "damaged", "hostile"],
)
def test_of_two_that_fail_the_cause_is_told(
    arriving: Arriving, tar: bytes, harm: Callable[[bytes], bytes], sentence: str
) -> None:
    arriving.write(harm(gzip.compress(tar, 0 if "damaged" in sentence else 1)))
    arriving.growth.end()
    result = arriving.over()
    assert isinstance(result, Invalid)
    assert sentence in result.message


def test_while_nothing_comes_the_reader_shows_that_it_lives(tmp_path: Path) -> None:
    growth, beats = Growth(), []
    (tmp_path / "file").write_bytes(b"some")

    def alive() -> None:
        beats.append(1)
        growth.grew(4)
        growth.end()

    with (tmp_path / "file").open("rb") as file:
        reader = Growing(file.fileno(), growth.fileno(), alive)
        assert reader.read(10) == b"some"
        assert beats == [1]
        assert reader.read(10) == b""
    growth.close()


# ── in archives ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["docker 20", "layout", "gzipped"])
def test_layers_of_an_archive_get_their_place(house: House, placing: Placing, form: str) -> None:
    packed = [gzip.compress(each) for each in (LOWER, UPPER)]
    files: dict[str, Files] = {
        "docker 20": old_docker(LOWER, UPPER),
        "layout": layout(LOWER, UPPER),
        "gzipped": layout(*packed, diff=(LOWER, UPPER)),
    }
    house.images.load(tarred(files[form]))
    chains = chain_ids([digest_of(LOWER), digest_of(UPPER)])
    assert placing.placed == chains
    assert placing.parents == {chains[0]: None, chains[1]: chains[0]}
    assert (placing.root / chains[0] / "large").read_bytes() == LARGE
    assert (placing.root / chains[1] / "second").read_bytes() == b"2"
    assert house.images.list()[0].size == 2 * len(LARGE) + 3
    assert {each.name for each in placing.root.iterdir() if each.is_dir()} == set(chains), "a draft was left"


def test_one_layer_twice_is_placed_and_unpacked(house: House, placing: Placing) -> None:
    house.images.load(tarred(old_docker(LOWER, LOWER)))
    chains = chain_ids([digest_of(LOWER)] * 2)
    assert placing.placed == chains[:1]
    for chain in chains:
        assert (placing.root / chain / "first").read_bytes() == b"1"


def test_what_is_here_already_is_not_unpacked_again(house: House, placing: Placing) -> None:
    house.images.load(tarred(layout(LOWER, name="one:1")))
    placing.begun.clear()
    house.images.load(tarred(layout(LOWER, UPPER, name="two:1")))
    assert len(placing.begun) == 1, "the layer that is here was begun again"


def test_of_a_bad_archive_nothing_stays(house: House, placing: Placing) -> None:
    before = house.files()
    other = tar_of({"large": LARGE})
    hostile = tar_of({"a": b"x", "../../outside": b"x", "large": LARGE})
    lying = old_docker(LOWER)
    lying = {name: other if name.endswith("layer.tar") else data for name, data in lying.items()}
    bad: list[tuple[Files, str]] = [
        (old_docker(LOWER, hostile), "outside of the image"),
        (lying, "does not match its image"),
        (old_docker(LOWER, gzip.compress(UPPER)[:-4000]), "truncated"),
        ({"layer.tar": LOWER}, "neither manifest.json"),
    ]
    for files, sentence in bad:
        with pytest.raises(Invalid, match=sentence):
            house.images.load(tarred(files))
        assert house.files() == before
        assert [each for each in placing.root.glob("*") if each.is_dir()] == []
    with pytest.raises(Invalid, match="truncated"):
        house.images.load(tarred(old_docker(LOWER), cut=100_000))
    assert house.files() == before
    assert house.images.load(tarred(old_docker(LOWER))) == ["old:1"], "a retry works"


def tarred(files: Files, cut: int = 0) -> io.BytesIO:
    data = tar_of(files)
    return io.BytesIO(data[: len(data) - cut])
