"""What older clients mean by a create request."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from sampan.api import ages
from sampan.errors import Invalid
from sampan.linux import cgroups
from unit.api.conftest import Daemon, Wire

BIND = {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"NonRecursive": True, "CreateMountpoint": True}}
VOLUME = {"Type": "volume", "Target": "/c", "VolumeOptions": {"NoCopy": True}, "TmpfsOptions": {"Mode": 1}}
BODY: dict[str, Any] = {
    "Image": "x",
    "Healthcheck": {"Interval": 1, "StartInterval": 2},
    "HostConfig": {
        "AutoRemove": True,
        "KernelMemory": 1,
        "KernelMemoryTCP": 1,
        "ConsoleSize": [1, 2],
        "Annotations": {"a": "b"},
        "Mounts": [BIND, VOLUME, "no mount"],
    },
}


def adapted(version: tuple[int, int], body: dict[str, Any] = BODY) -> tuple[dict[str, Any], dict[str, Any]]:
    mine = deepcopy(body)
    ages.adapt(mine, version)
    return mine, mine["HostConfig"]


def test_todays_clients_mean_what_they_say() -> None:
    body, host = adapted((1, 50))
    assert body["Healthcheck"] == BODY["Healthcheck"]
    assert host == {key: value for key, value in BODY["HostConfig"].items() if key != "KernelMemory"}


@pytest.mark.parametrize(
    ("version", "gone"),
    [
        ((1, 24), {"AutoRemove", "KernelMemoryTCP", "ConsoleSize", "Annotations"}),
        ((1, 25), {"KernelMemoryTCP", "ConsoleSize", "Annotations"}),
        ((1, 40), {"ConsoleSize", "Annotations"}),
        ((1, 42), {"Annotations", "KernelMemory"}),
        ((1, 43), {"KernelMemory"}),
    ],
)
def test_what_a_version_does_not_have_is_left_out(version: tuple[int, int], gone: set[str]) -> None:
    _, host = adapted(version)
    assert set(BODY["HostConfig"]) - set(host) == gone


@pytest.mark.parametrize(
    ("version", "bind", "volume"),
    [
        ((1, 39), set(), {"VolumeOptions"}),
        ((1, 41), {"NonRecursive"}, {"VolumeOptions"}),
        ((1, 42), {"NonRecursive", "CreateMountpoint"}, {"VolumeOptions", "TmpfsOptions"}),
    ],
)
def test_options_of_mounts(version: tuple[int, int], bind: set[str], volume: set[str]) -> None:
    _, host = adapted(version)
    assert set(host["Mounts"][0]["BindOptions"]) == bind
    assert set(host["Mounts"][1]) - {"Type", "Target"} == volume


def test_defaults_that_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"memory": "/m", cgroups.V2: "/u"})
    assert [adapted((1, 39))[1].get(key) for key in ("IpcMode", "CgroupnsMode")] == ["shareable", "host"]
    assert [adapted((1, 40))[1].get(key) for key in ("IpcMode", "CgroupnsMode")] == [None, "host"]
    assert [adapted((1, 41))[1].get(key) for key in ("IpcMode", "CgroupnsMode")] == [None, None]
    asked = {"HostConfig": {"IpcMode": "none", "CgroupnsMode": "private"}}
    assert adapted((1, 24), asked)[1] == asked["HostConfig"]
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {cgroups.V2: "/u"})
    assert "CgroupnsMode" not in adapted((1, 24))[1]


@pytest.mark.parametrize(
    ("version", "host", "networks", "what"),
    [
        ((1, 43), {"Mounts": [{"BindOptions": {"ReadOnlyForceRecursive": True}}]}, {}, "needs API v1.44"),
        ((1, 43), {}, {"a": {}, "b": {}}, "cannot be created with multiple network endpoints: a, b"),
        ((1, 44), {"Mounts": [{"VolumeOptions": {"Subpath": "x"}}]}, {}, "Subpath needs API v1.45"),
        ((1, 47), {"Mounts": [{"Type": "image"}]}, {}, "needs API v1.48"),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    version: tuple[int, int], host: dict[str, Any], networks: dict[str, Any], what: str
) -> None:
    body = {"HostConfig": host, "NetworkingConfig": {"EndpointsConfig": networks}}
    with pytest.raises(Invalid, match=what):
        ages.adapt(deepcopy(body), version)
    ages.adapt(deepcopy(body), (version[0], version[1] + 1))


@pytest.mark.parametrize(
    "body", [{}, {"HostConfig": []}, {"HostConfig": {"Mounts": {}}, "NetworkingConfig": 1, "Healthcheck": 2}]
)
def test_malformed_bodies_are_for_others_to_refuse(body: dict[str, Any]) -> None:
    ages.adapt(deepcopy(body), (1, 24))


@pytest.mark.parametrize(
    ("version", "platform", "shallow"), [("1.40", "", True), ("1.43", "linux", True), ("1.44", "linux", False)]
)
def test_what_is_asked_beside_the_body(daemon: Daemon, wire: Wire, version: str, platform: str, shallow: bool) -> None:
    """Before 1.44, read-only is not what is mounted inside the mount; before 1.41, nobody asked for a platform."""
    answer = wire.ask("POST", f"/v{version}/containers/create?name=n&platform=linux", {"Image": "x"})
    assert answer.status == 201
    assert daemon.engine.containers.calls[-1][3:] == (platform, shallow)
