"""Devices of a container: what is asked for, as OCI's nodes and rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.containers.bundle import devices
from sampan.containers.requests import config
from sampan.errors import Invalid


def completed(**host: Any) -> dict[str, Any]:
    asked = config.read({"Image": "x", "Cmd": ["true"], "HostConfig": host})
    config.merge(asked, {})
    return config.complete(asked, "a" * 64, config.Defaults())[1]


def mapping(source: str, target: str = "", access: str = "") -> dict[str, str]:
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def test_a_device_is_made_and_may_be_used_as_asked() -> None:
    host = completed(Devices=[mapping("/dev/null", "/dev/nothing", "r")])
    [node] = devices.nodes(host)
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/nothing", "c", 1, 3)
    assert devices.rules(host)[-1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_a_link_is_followed_and_nothing_said_is_everything(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/zero")
    host = completed(Devices=[mapping(str(link))])
    assert devices.nodes(host)[0]["path"] == str(link)
    assert devices.nodes(host)[0]["minor"] == 5
    assert devices.rules(host)[-1]["access"] == "rwm"


def test_a_directory_is_all_devices_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bus").mkdir()
    for name in ("one", "bus/two"):
        (tmp_path / name).touch()
    monkeypatch.setattr(
        devices, "_device", lambda path: {"path": str(path), "type": "c", "major": 9, "minor": len(path.name)}
    )
    host = completed(Devices=[mapping(str(tmp_path), "/dev/many")])
    assert {each["path"] for each in devices.nodes(host)} == {"/dev/many/one", "/dev/many/bus/two"}


@pytest.mark.parametrize(("path", "reason"), [("/dev/nosuch", "no such file or directory"), ("/etc/passwd", "not a d")])
def test_what_is_no_device_is_named_at_the_start(path: str, reason: str) -> None:
    host = completed(Devices=[mapping(path)])
    with pytest.raises(Invalid, match=f'adding custom device "{path}": {reason}'):
        devices.nodes(host)


@pytest.mark.parametrize(
    ("rule", "made"),
    [
        ("c 7:* rm", [{"allow": True, "type": "c", "major": 7, "access": "rm"}]),
        ("b *:3 rwm", [{"allow": True, "type": "b", "minor": 3, "access": "rwm"}]),
        ("a *:* rwm", [{"allow": True, "access": "rwm"}]),
        ("a 7:1 r", [{"allow": True, "type": each, "major": 7, "minor": 1, "access": "r"} for each in "bc"]),
    ],
)
def test_rules_are_taken_over(rule: str, made: list[dict[str, Any]]) -> None:
    assert devices.rules(completed(DeviceCgroupRules=[rule]))[-len(made) :] == made


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"DeviceCgroupRules": ["d 7:* r"]}, "invalid device cgroup rule format: 'd 7:"),
        ({"DeviceCgroupRules": ["c 7:* r\n"]}, "invalid device cgroup rule format"),
        ({"DeviceCgroupRules": ["c 4294967296:1 r"]}, "too large"),
        ({"Devices": [mapping("dev/null")]}, "'dev/null' is not an absolute path"),
        ({"Devices": [mapping("/dev/null", "/")]}, "'/' is not an absolute path"),
        ({"Devices": [mapping("/dev/null", "/x", "rx")]}, "invalid device mode: rx"),
        (
            {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]},
            r'could not select device driver "" with capabilities: \[\[gpu\]\]',
        ),
    ],
)
def test_what_could_never_be_is_refused_at_once(host: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        completed(**host)


def test_a_privileged_container_has_the_hosts_devices_and_its_own() -> None:
    host = completed(Privileged=True, Devices=[mapping("/dev/null", "/dev/mine", "r")])
    assert {"/dev/null", "/dev/mine"} <= {each["path"] for each in devices.nodes(host)}
    assert devices.rules(host) == [{"allow": True, "access": "rwm"}]
