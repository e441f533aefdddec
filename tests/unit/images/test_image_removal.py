"""Names and images go as they do in Docker, and nothing goes that somebody needs."""

from __future__ import annotations

import io
import threading

import pytest

from sampan.errors import Conflict, Exhausted, Invalid, NotFound
from sampan.images.layers import chain_ids
from sampan.images.records import blobs_of, chains_of
from unit.images.image_archives import old_docker, sha, tar_of
from unit.images.image_house import House

LOWER = tar_of({"a": b"lower"})
UPPER = tar_of({"b": b"upper"})
CHAIN = ["sha256:" + each for each in chain_ids(["sha256:" + sha(LOWER), "sha256:" + sha(UPPER)])]


@pytest.fixture
def image(house: House) -> str:
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, UPPER, tags=("x:1",)))))
    return house.images.get("x:1").id


def test_the_last_name_takes_the_image_along(house: House, image: str) -> None:
    rows = house.images.remove("x:1")
    assert rows == [{"Untagged": "x:1"}, {"Deleted": image}, {"Deleted": CHAIN[1]}, {"Deleted": CHAIN[0]}]
    assert (house.files(), house.images.list()) == (set(), [])
    assert house.actions() == ["load", "untag", "delete"]


def test_one_of_two_names_is_only_untagged(house: House, image: str) -> None:
    house.images.tag("x:1", "y")
    assert house.images.remove("x:1") == [{"Untagged": "x:1"}]
    assert house.images.get("y").id == image
    assert house.actions() == ["load", "tag", "untag"]


def test_by_id_with_one_name(house: House, image: str) -> None:
    assert house.images.remove(image[7:15])[:2] == [{"Untagged": "x:1"}, {"Deleted": image}]


def test_by_id_with_several_names_needs_force(house: House, image: str) -> None:
    house.images.tag("x:1", "y")
    with pytest.raises(Conflict) as caught:
        house.images.remove(image)
    short = image[7:19]
    assert caught.value.message == (
        f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    )
    rows = house.images.remove(image, force=True)
    assert {"Untagged": "x:1"} in rows
    assert {"Untagged": "y:latest"} in rows
    assert not house.images.list()


def test_a_name_that_a_container_uses_needs_force(house: House, image: str) -> None:
    container = house.container("x:1", "exited")
    with pytest.raises(Conflict) as caught:
        house.images.remove("x:1")
    assert caught.value.message == (
        f'conflict: unable to remove repository reference "x:1" (must force) - '
        f"container {container.id[:12]} is using its referenced image {image[7:19]}"
    )
    assert house.images.get("x:1")


def test_an_image_of_a_running_container_cannot_be_forced(house: House, image: str) -> None:
    container = house.container("x:1")
    for force in (False, True):
        with pytest.raises(Conflict) as caught:
            house.images.remove(image, force=force)
        assert caught.value.message == (
            f"conflict: unable to delete {image[7:19]} (cannot be forced) - "
            f"image is being used by running container {container.id[:12]}"
        )
    assert house.images.remove("x:1", force=True) == [{"Untagged": "x:1"}]
    assert house.images.get(image).references == []


def test_forced_under_a_stopped_container_it_goes_with_the_container(house: House, image: str) -> None:
    container = house.container("x:1", "exited")
    with pytest.raises(Conflict, match=r"must be forced\) - image is being used by stopped container"):
        house.images.remove(image)
    assert house.images.remove(image, force=True) == [{"Untagged": "x:1"}, {"Deleted": image}]
    with pytest.raises(NotFound):
        house.images.get(image)
    assert house.images.list() == []
    assert house.images.layers_in_use() == {each[7:] for each in CHAIN}
    house.state.close()
    house.open()
    assert house.images.layers_in_use() == {each[7:] for each in CHAIN}
    house.remove_container(container)
    assert (house.images.layers_in_use(), house.files()) == (set(), set())


def test_loading_a_removed_image_brings_it_back(house: House, image: str) -> None:
    house.container("x:1", "exited")
    house.images.remove(image, force=True)
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, UPPER, tags=("x:1",)))))
    assert house.images.get("x:1").id == image


def test_an_image_that_is_held_stays_until_it_is_let_go(house: House, image: str) -> None:
    held = house.images.get("x:1")
    with house.images.holding(held):
        house.images.remove("x:1")
        assert house.drivers["first"].layers() == {each[7:] for each in CHAIN}
    assert house.files() == set()
    with pytest.raises(NotFound), house.images.holding(held):
        pass


def test_layers_below_a_container_of_another_driver_stay(house: House, image: str) -> None:
    layer = house.images.layer_for(house.images.get("x:1"), "second")
    house.drivers["second"].create("c", layer)
    rows = house.images.remove("x:1")
    assert rows == [{"Untagged": "x:1"}, {"Deleted": image}]
    assert layer in house.drivers["second"].layers()


def test_a_layer_that_went_with_an_error_is_not_taken_for_there(
    house: House, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the image could not be loaded again until the daemon's next start."""
    driver = house.drivers["first"]
    remove = driver.remove_layer

    def fails(layer: str) -> None:
        remove(layer)
        raise OSError("it went, and then")

    monkeypatch.setattr(driver, "remove_layer", fails)
    house.images.remove("x:1")
    monkeypatch.undo()
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, UPPER, tags=("x:1",)))))
    assert house.tree("x:1") == {"a": b"lower", "b": b"upper"}


@pytest.mark.parametrize("target", ["a b", "x@sha256:" + "0" * 64, "sha256:abc", "X"])
def test_bad_targets_are_refused(house: House, image: str, target: str) -> None:
    with pytest.raises(Invalid):
        house.images.tag("x:1", target)


def test_a_tag_moves(house: House, image: str) -> None:
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, tags=("z",)))))
    house.images.tag("x:1", "z")
    assert house.images.get("z").id == image
    assert sorted(map(len, (each.references for each in house.images.list()))) == [0, 2]


def test_loads_and_removals_at_the_same_time_never_break_an_image(house: House) -> None:
    archives = [tar_of(old_docker(LOWER, UPPER, tags=("x:1",))), tar_of(old_docker(LOWER, tags=("y:1",)))]
    failures: list[BaseException] = []

    def work(archive: bytes, name: str) -> None:
        try:
            for _ in range(15):
                house.images.load(io.BytesIO(archive))
                try:
                    house.tree(name)
                    house.images.remove(name)
                except NotFound:
                    pass  # another thread was faster
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(archive, name))
        for archive, name in zip(archives * 2, ("x:1", "y:1") * 2, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (house.files(), house.images.list()) == (set(), [])


def test_what_is_needed_is_counted_as_it_comes_and_goes(house: House, image: str) -> None:
    records = house.images._records

    def agrees() -> bool:
        every = records.every()
        blobs = {digest for each in every for digest in blobs_of(each)}
        return records.used() == ({*blobs}, {chain for each in every for chain in chains_of(each)})

    def fails() -> None:
        with records.transaction():
            records.delete(image)
            raise RuntimeError

    assert agrees()
    with pytest.raises(RuntimeError):
        fails()
    assert agrees()
    house.images.load(io.BytesIO(tar_of(old_docker(LOWER, LOWER, tags=("y:1",)))))
    house.images.tag("y:1", "y:2")
    assert agrees()
    house.images.remove("x:1")
    assert agrees()
    assert records.needs_blob("sha256:" + sha(LOWER))
    assert not records.needs_chain(CHAIN[1])
    house.images.remove("y:1")
    house.images.remove("y:2")
    assert records.used() == (set(), set())


def test_what_cannot_be_let_go_now_is_let_go_later(
    house: House, image: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon asks for it while it starts, on a full disk, too."""
    container = house.container("x:1", "exited")
    house.images.remove("x:1", force=True)

    def full(*_: object, **__: object) -> None:
        raise Exhausted("no space is left")

    with monkeypatch.context() as patched:
        patched.setattr(house.state, "delete", full)
        house.remove_container(container)
    assert "no space is left" in caplog.text
    assert house.files() != set()
    house.images.collect()
    assert house.files() == set()
