"""Containers with a user namespace: what is refused, whose namespace it is, and what the specification says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.containers.bundle import remapping
from sampan.drivers.types import RuntimeFeatures
from sampan.errors import Conflict, Invalid, Unsupported
from sampan.linux.idmaps import IdMap, Range
from unit.containers.container_house import House, house
from unit.containers.test_container_spec import built, container

IDS = IdMap((Range(0, 300_000, 65_536),), (Range(0, 400_000, 65_536),))
REFUSED = {
    "privileged mode is incompatible with user namespaces": {"Privileged": True},
    "cannot share the host's network namespace when user namespaces are enabled": {"NetworkMode": "host"},
    "cannot share the host PID namespace when user namespaces are enabled": {"PidMode": "host"},
}


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, ids=IDS) as made:
        made.runtime.features = lambda: RuntimeFeatures(user_namespaces=True)  # type: ignore[method-assign]
        yield made


@pytest.mark.parametrize(("said", "host"), REFUSED.items())
def test_what_only_the_host_s_root_may_is_refused(yard: House, said: str, host: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=said):
        yard.create(host=host)
    yard.create(host={**host, "UsernsMode": "host"})


@pytest.mark.parametrize("host", REFUSED.values())
def test_nothing_is_refused_where_there_are_none(tmp_path: Path, host: dict[str, Any]) -> None:
    with house(tmp_path) as plain:
        plain.create(host=host)


def test_a_runtime_that_cannot_is_named_with_a_way_out(yard: House) -> None:
    yard.runtime.features = lambda: RuntimeFeatures(why={"user_namespaces": "it is a toy"})  # type: ignore[method-assign]
    with pytest.raises(Unsupported, match=r"the runtime native .*: it is a toy \(use --userns=host"):
        yard.create()
    yard.create(host={"UsernsMode": "host"})


def test_each_has_one_of_its_own(yard: House) -> None:
    record = yard.create()
    chosen = remapping.users(yard.parts, record)
    assert chosen is True
    assert remapping.place(yard.parts, record, chosen) == Path("/run/userns") / record.id
    aside = yard.create(host={"UsernsMode": "host"})
    assert remapping.users(yard.parts, aside) is False
    assert remapping.place(yard.parts, aside, False) is None


@pytest.mark.root
@pytest.mark.parametrize("key", ["NetworkMode", "PidMode", "IpcMode"])
def test_whoever_joins_another_is_in_its_user_namespace(yard: House, key: str) -> None:
    other = yard.create("boat")
    yard.containers.start("boat")
    record = yard.create(host={key: "container:boat"})
    chosen = remapping.users(yard.parts, record)
    assert chosen == Path(f"/proc/{other.state.pid}/ns/user")
    assert remapping.place(yard.parts, record, chosen) == chosen


@pytest.mark.root
def test_nobody_can_join_one_in_the_host_s(yard: House) -> None:
    yard.create("boat", {"UsernsMode": "host"})
    yard.containers.start("boat")
    record = yard.create(host={"PidMode": "container:boat"})
    with pytest.raises(Conflict, match="boat is in the host's user namespace: join it with --userns=host"):
        remapping.users(yard.parts, record)


def test_the_specification_says_where_it_is_and_which_ids_it_has(tmp_path: Path) -> None:
    made = built(container(), ids=IDS, users=Path("/run/userns/x"))
    assert json.loads(json.dumps(made)) == made
    linux = made["linux"]
    assert {"type": "user", "path": "/run/userns/x"} in linux["namespaces"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 300_000, "size": 65_536}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 400_000, "size": 65_536}]
    assert linux["sysctl"]["net.ipv4.ping_group_range"] == "0 65535"  # beyond, there are no groups
    assert "uidMappings" not in built(container())["linux"]


def test_the_host_s_queues_are_not_to_be_seen() -> None:
    shared = container({"IpcMode": "host"})
    targets = {
        mount["destination"] for mount in built(shared, ids=IDS, users=Path("/x"), memory=Path("/dev/shm"))["mounts"]
    }
    assert "/dev/shm" in targets
    assert "/dev/mqueue" not in targets


@pytest.mark.root
def test_a_root_without_an_image_below_is_the_container_s(yard: House, tmp_path: Path) -> None:
    yard.images.layer_for = lambda image, storage=None: None  # type: ignore[method-assign]
    yard.create()
    status = (tmp_path / "root").stat()
    assert (status.st_uid, status.st_gid) == (300_000, 400_000)
