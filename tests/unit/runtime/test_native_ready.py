"""What an init makes ahead is what a container of the engine asks for: else every start would quietly be slower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.containers.bundle.usual import usual
from sampan_runtime.native import order, ready
from unit.containers.test_container_spec import built, container

MADE = {b"/proc", b"/dev", b"/dev/pts", b"/dev/mqueue", b"/dev/shm", b"/sys/fs/cgroup"}


class Frame(ready.Ready):
    """Nothing is mounted: ``taken`` is what would be unmounted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(b"/root", -1, usual=order.from_spec(usual(), Path("/"), None))
        self.taken: list[str] = []
        monkeypatch.setattr(ready.mounts, "detach", self.taken.append)

    def left_for(self, asked: dict[str, Any]) -> set[bytes]:
        self.settle(asked)
        return {each[1] for each in asked["mounts"] if self.has(each)}


def asked(host: dict[str, Any] | None = None, **own: Any) -> dict[str, Any]:
    return order.from_spec(built(container(host, **own)), Path("/run/b/rootfs"), None)


def test_the_usual_container_finds_everything_made(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, wanted = Frame(monkeypatch), asked({"Memory": 1 << 26, "Binds": ["/a:/b"]}, Tty=True, User="1")
    assert frame.left_for(wanted) == MADE
    assert not frame.taken
    assert all(frame.covers(path) for path in wanted["masked"] if path.startswith(b"/proc/"))
    assert list(frame.devices()) == wanted["devices"]


def test_another_size_of_shared_memory_is_made_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Frame(monkeypatch)
    assert frame.left_for(asked({"ShmSize": 1 << 20})) == MADE - {b"/dev/shm"}
    assert frame.taken == ["/frame/dev/shm"]


def test_who_wants_other_masks_gets_another_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, wanted = Frame(monkeypatch), asked({"MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": []})
    assert frame.left_for(wanted) == MADE - {b"/proc"}
    assert frame.taken == ["/frame/proc"]
    assert not frame.covers(b"/proc/kcore")


def test_what_is_mounted_on_what_goes_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, wanted = Frame(monkeypatch), asked()
    wanted["devices"] = wanted["devices"][1:]
    assert frame.left_for(wanted) == {b"/proc", b"/sys/fs/cgroup"}
    assert frame.taken == ["/frame/dev"]
    assert not frame.devices()
