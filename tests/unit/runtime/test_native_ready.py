"""What an init makes ahead is what a container of the engine asks for: else every start would quietly be slower."""

from __future__ import annotations

from pathlib import Path

from sampan_runtime.native import order, ready
from unit.containers.test_container_spec import built, container


def test_the_usual_container_finds_its_file_systems_made() -> None:
    made = order.from_spec(built(container()), Path("/run/b/rootfs"), None)
    asked = {(kind, source, flags, data) for kind, _, source, flags, _, data in made["mounts"]}
    assert set(ready.STANDARD) <= asked
    assert made["devices"] == ready.DEVICES


def test_another_size_of_shared_memory_is_made_when_it_is_asked_for() -> None:
    made = order.from_spec(built(container({"ShmSize": 1 << 20})), Path("/run/b/rootfs"), None)
    asked = {(kind, source, flags, data) for kind, _, source, flags, _, data in made["mounts"]}
    assert {key[1] for key in set(ready.STANDARD) - asked} == {"shm"}
