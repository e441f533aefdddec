"""The volumes service: records, who uses what, and what is on disk, after any crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sampan.config import Config
from sampan.errors import Conflict, Invalid, NotFound, SampanError, Unsupported
from sampan.events import EventBus
from sampan.state import State
from sampan.volumes import Volumes, device
from sampan.volumes.request import Request
from sampan.volumes.service import ANONYMOUS


class House:
    """A service that can die: ``again`` is what the next daemon finds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[tuple[str, str]] = []
        self.state = State(root / "engine.db")
        self.again()

    def again(self, users: dict[str, set[str]] | None = None, running: tuple[str, ...] = ()) -> Volumes:
        bus = EventBus()
        bus.subscribe(lambda event: self.events.append((event["Action"], event["Actor"]["ID"])))
        config = Config(data_root=self.root / "data", exec_root=self.root / "run")
        self.volumes = Volumes(config, self.state, bus)
        self.volumes.load()
        self.volumes.open(users or {}, running)
        return self.volumes

    def names(self) -> list[str]:
        return [volume.name for volume in self.volumes.list()]

    def on_disk(self) -> set[str]:
        return {path.name for path in (self.root / "data/volumes").iterdir() if not path.name.startswith(".")}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.state.close()


def test_made_once(house: House) -> None:
    made = house.volumes.create({"Name": "data", "Labels": {"a": "b"}})
    data = house.volumes.mountpoint("data")
    assert data == house.root / "data/volumes/data/_data"
    assert data.stat().st_mode & 0o777 == 0o755
    assert house.volumes.create({"Name": "data", "Labels": {"c": "d"}}) == made
    assert house.events == [("create", "data")]
    assert house.again().get("data") == made


def test_nobody_named_it(house: House) -> None:
    made = house.volumes.create({})
    assert len(made.name) == 64
    assert made.labels == {ANONYMOUS: ""}


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        ({"Name": "../x"}, Invalid, "includes invalid characters for a local volume name"),
        ({"Name": "x"}, Invalid, "names should be at least two alphanumeric characters"),
        ({"Name": "x" * 255}, Invalid, "has at most"),
        ({"Name": 5}, Invalid, "invalid value for Name"),
        ({"Name": "xx\0"}, Invalid, "NUL"),
        ({"Name": "xx", "Labels": ["a"]}, Invalid, "invalid value for Labels"),
        ({"Name": "xx", "Driver": "cloud"}, NotFound, 'plugin "cloud" not found'),
        ({"Name": "xx", "DriverOpts": {"type": "tmpfs"}}, Invalid, 'create xx: missing required option: "device"'),
        ({"Name": "xx", "DriverOpts": {"colour": "red"}}, Invalid, 'create xx: invalid option: "colour"'),
        ({"Name": "xx", "DriverOpts": {"size": "1g"}}, Unsupported, "no quota support"),
        ({"Name": "xx", "ClusterVolumeSpec": {"Group": "g"}}, Unsupported, "swarm"),
    ],
)
def test_refused_with_one_sentence(house: House, body: dict[str, Any], kind: type[SampanError], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        house.volumes.create(body)
    assert sentence in caught.value.message
    assert house.on_disk() == set()


def test_in_use_it_stays(house: House) -> None:
    house.volumes.take(Request(name="data"), "c1")
    with house.volumes.claiming(["data"]):
        pass
    house.volumes.take(Request(name="data"), "c2")
    with pytest.raises(Conflict) as caught:
        house.volumes.remove("data")
    assert caught.value.message == "remove data: volume is in use - [c1, c2]"
    house.volumes.give_back(["data"], "c1")
    house.volumes.give_back(["data"], "c2")
    assert house.names() == ["data"]
    house.volumes.remove("data")
    assert (house.names(), house.on_disk()) == ([], set())
    assert house.events == [("create", "data"), ("destroy", "data")]
    assert not list((house.root / "data/volumes/.removed").iterdir())


def test_a_container_that_never_was_leaves_none(house: House) -> None:
    house.volumes.take(Request(name="data"), "c1")
    house.volumes.give_back(["data"], "c1")
    assert (house.names(), house.on_disk()) == ([], set())


def test_one_that_died_while_it_was_made_leaves_none(house: House) -> None:
    house.volumes.take(Request(name="data"), "c1")
    house.volumes.create({"Name": "kept"})
    house.again()
    assert house.names() == ["kept"]


def test_somebody_else_wanted_it_meanwhile(house: House) -> None:
    house.volumes.take(Request(name="data"), "c1")
    house.volumes.create({"Name": "data"})
    house.volumes.give_back(["data"], "c1")
    house.again()
    assert house.names() == ["data"]


def test_what_goes_with_a_container_goes_even_if_the_daemon_dies(house: House) -> None:
    for name in ("mine", "ours"):
        house.volumes.take(Request(name=name), "c1")
    with house.volumes.claiming(["mine", "ours"]):
        pass
    house.volumes.take(Request(name="ours"), "c2")
    with house.volumes.disclaiming(["mine", "ours"]):
        pass
    house.again({"ours": {"c2"}})
    assert house.names() == ["ours"]


def test_all_or_nothing(house: House) -> None:
    house.volumes.take(Request(name="data"), "c1")
    with pytest.raises(ZeroDivisionError), house.volumes.claiming(["data"]):
        raise ZeroDivisionError
    assert house.volumes.get("data").unclaimed
    house.again()
    assert house.names() == []


def test_a_lost_database_loses_no_data(house: House) -> None:
    house.volumes.create({"Name": "data"})
    (house.volumes.mountpoint("data") / "precious").touch()
    house.state.delete("volumes", "data")
    house.again()
    assert house.names() == ["data"]
    assert [path.name for path in house.volumes.mountpoint("data").iterdir()] == ["precious"]


def test_a_removal_that_was_cut_short_did_not_happen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.volumes.create({"Name": "data"})
    (house.volumes.mountpoint("data") / "precious").touch()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(house.state, "delete", die)
    with pytest.raises(KeyboardInterrupt):
        house.volumes.remove("data")
    monkeypatch.undo()
    assert house.on_disk() == set()
    house.again()
    assert [path.name for path in house.volumes.mountpoint("data").iterdir()] == ["precious"]


def test_prune(house: House) -> None:
    for name in ("used", "free", "kept"):
        house.volumes.create({"Name": name})
    (house.volumes.mountpoint("free") / "file").write_bytes(bytes(8192))
    house.volumes.take(Request(name="used"), "c1")
    removed, freed = house.volumes.prune(lambda volume: volume.name != "kept")
    assert removed == ["free"]
    assert freed >= 8192
    assert house.names() == ["kept", "used"]


def test_mount_options() -> None:
    assert device.parsed("bind,ro,size=1m,rshared,nosuid,rw") == (0x1002, 0x4000 | 1 << 20, "size=1m")
    assert device.parsed("") == (0, 0, "")
    assert device.parsed("defaults,uid=5,gid=6") == (0, 0, "uid=5,gid=6")


TMPFS = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}


def mounted(path: Path) -> bool:
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


@pytest.mark.root
def test_a_device_is_mounted_for_the_first_and_unmounted_after_the_last(house: House) -> None:
    house.volumes.create({"Name": "deck", "DriverOpts": TMPFS})
    data = house.volumes.mountpoint("deck")
    assert house.volumes.mount("deck", "c1", {}) == data
    house.volumes.mount("deck", "c2", {})
    assert mounted(data)
    house.volumes.unmount("deck", "c1")
    assert mounted(data)
    house.volumes.unmount("deck", "c2")
    house.volumes.unmount("deck", "c2")
    assert not mounted(data)
    assert [action for action, _ in house.events] == ["create", "mount", "mount", "unmount", "unmount"]


@pytest.mark.root
def test_after_a_crash_a_device_stays_for_those_that_run_only(house: House) -> None:
    house.volumes.create({"Name": "deck", "DriverOpts": TMPFS})
    data = house.volumes.mountpoint("deck")
    house.volumes.mount("deck", "c1", {})
    house.again({"deck": {"c1", "c2"}}, ("c1",))
    assert mounted(data)
    house.volumes.mount("deck", "c2", {})
    house.volumes.unmount("deck", "c1")
    assert mounted(data)
    house.again({"deck": {"c1", "c2"}})
    assert not mounted(data)


@pytest.mark.root
def test_a_device_that_is_none(house: House) -> None:
    house.volumes.create({"Name": "deck", "DriverOpts": {"type": "ext4", "device": "/no/such"}})
    with pytest.raises(Invalid, match="failed to mount local volume: mount /no/such:"):
        house.volumes.mount("deck", "c1", {})
    house.volumes.remove("deck")


@pytest.mark.root
def test_a_part_of_a_volume(house: House) -> None:
    house.volumes.create({"Name": "data"})
    data = house.volumes.mountpoint("data")
    (data / "a/b").mkdir(parents=True)
    (data / "a/b/file").write_text("here")
    (data / "inside").symlink_to("a/b")
    (data / "file").write_text("plain")
    for path, name in (("a/b", "file"), ("inside", "file"), ("a/../a/b", "file")):
        with house.volumes.hold("data", path) as place:
            assert (place / name).read_text() == "here"
    with house.volumes.hold("data", "file") as place:
        assert place.read_text() == "plain"
    assert not list((house.root / "run/subpaths").iterdir())


@pytest.mark.root
@pytest.mark.parametrize("path", ["absolute", "above", "missing", "magic"])
def test_a_part_of_a_volume_stays_inside(house: House, path: str) -> None:
    house.volumes.create({"Name": "data"})
    data = house.volumes.mountpoint("data")
    (data / "absolute").symlink_to("/etc")
    (data / "above").symlink_to("../../../")
    (data / "magic").symlink_to("/proc/self/root")
    with pytest.raises(Invalid, match="cannot access path"), house.volumes.hold("data", path):
        pass


@pytest.mark.root
def test_what_a_crash_left_held_is_let_go_and_nothing_in_it_is_lost(house: House) -> None:
    house.volumes.create({"Name": "data"})
    (house.volumes.mountpoint("data") / "precious").touch()
    held = house.volumes.hold("data", ".")
    place = held.__enter__()
    house.again()
    assert not mounted(place)
    assert not place.exists()
    assert (house.volumes.mountpoint("data") / "precious").exists()
    with suppress(FileNotFoundError):
        held.__exit__(None, None, None)
