"""From an OCI configuration to the native runtime's order: a table, as pure as it can be."""

from __future__ import annotations

import copy
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers.errors import Invalid, Unsupported
from sampan.linux import mounts, namespaces
from sampan_runtime.native import order

ROOTFS = Path("/run/box/rootfs")
SPEC: dict[str, Any] = {
    "process": {"args": ["sh", "-c", "true"], "cwd": "/", "env": ["A=1"]},
    "linux": {"namespaces": [{"type": "mount"}]},
}


def made(**changes: Any) -> dict[str, Any]:
    """The order for a small configuration; ``process`` and ``linux`` are laid over its parts of that name."""
    spec = copy.deepcopy(SPEC)
    for key, value in changes.items():
        spec[key] = {**spec[key], **value} if key in spec else value
    return order.from_spec(spec, ROOTFS, None)


def test_what_is_not_said_has_the_usual_value() -> None:
    found = made()
    usual = {
        "terminal": False,
        "args": [b"sh", b"-c", b"true"],
        "cwd": b"/",
        "env": {b"A": b"1"},
        "uid": 0,
        "gid": 0,
        "groups": [],
        "umask": 0o022,
        "rlimits": [],
        "oom_score_adj": None,
        "no_new_privileges": False,
        "seccomp": None,
        "rootfs": b"/run/box/rootfs",
        "read_only": False,
        "hostname": b"",
        "propagation": mounts.MS_PRIVATE | mounts.MS_REC,
        "mounts": [],
        "masked": [],
        "read_only_paths": [],
        "sysctl": [],
        "joins": [],
        "flags": namespaces.CLONE_NEWNS,
    }
    assert {key: found[key] for key in usual} == usual
    assert set(found["capabilities"].values()) == {0}


def test_texts_that_are_not_utf_8_pass_through() -> None:
    found = made(process={"args": ["\udcff"], "env": ["\udcfe=\udcfd"], "cwd": "/\udcfc"})
    assert (found["args"], found["env"], found["cwd"]) == ([b"\xff"], {b"\xfe": b"\xfd"}, b"/\xfc")


def test_of_a_variable_given_twice_the_last_one_holds_and_values_may_hold_anything() -> None:
    assert made(process={"env": ["A=1", "B=x=y", "A=2", "EMPTY="]})["env"] == {b"A": b"2", b"B": b"x=y", b"EMPTY": b""}


def test_user_groups_and_mask() -> None:
    found = made(process={"user": {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o077}})
    assert (found["uid"], found["gid"], found["groups"], found["umask"]) == (7, 8, [9, 10], 0o077)


def test_capabilities_become_masks_of_what_this_machine_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_permitted", lambda: 0b0011)
    names = ["CAP_CHOWN", "CAP_DAC_READ_SEARCH", "CAP_FROM_THE_FUTURE"]
    found = made(process={"capabilities": {"bounding": names, "effective": names[:1]}})
    assert found["capabilities"] == {"bounding": 1, "effective": 1, "permitted": 0, "inheritable": 0, "ambient": 0}


def test_limits_of_the_process() -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
        {"type": "RLIMIT_CORE", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1},
    ]
    found = made(process={"rlimits": limits})["rlimits"]
    assert found == [(resource.RLIMIT_NOFILE, 10, 20), (resource.RLIMIT_CORE, -1, -1)]
    with pytest.raises(Invalid, match="RLIMIT_TEA"):
        made(process={"rlimits": [{"type": "RLIMIT_TEA", "soft": 1, "hard": 1}]})


def test_namespaces_are_made_or_joined() -> None:
    wanted = [
        {"type": "mount"},
        {"type": "pid"},
        {"type": "uts"},
        {"type": "network", "path": "/run/netns/a"},
        {"type": "ipc", "path": ""},
    ]
    found = made(linux={"namespaces": wanted})
    assert found["flags"] == (
        namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC
    )
    assert found["joins"] == [(namespaces.CLONE_NEWNET, b"/run/netns/a")]


def test_a_user_namespace_is_joined_before_all_others() -> None:
    linux = {
        "namespaces": [{"type": "mount"}, {"type": "user", "path": "/run/userns/a"}],
        "uidMappings": [{"containerID": 0, "hostID": 300_000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 400_000, "size": 20}],
    }
    found = made(linux=linux)
    assert (found["users"], found["uids"], found["gids"]) == (b"/run/userns/a", [(0, 300_000, 10)], [(0, 400_000, 20)])
    assert (found["flags"], found["joins"]) == (namespaces.CLONE_NEWNS, [])
    assert made()["users"] is None


@pytest.mark.parametrize("kind", ["user", "time", "dream"])
def test_a_namespace_that_native_does_not_have_is_named(kind: str) -> None:
    with pytest.raises(Unsupported, match=kind):
        made(linux={"namespaces": [{"type": "mount"}, {"type": kind}]})


def test_a_container_without_a_mount_namespace_would_be_none() -> None:
    with pytest.raises(Unsupported, match="mount namespace"):
        made(linux={"namespaces": [{"type": "pid"}]})


PRIVATE, REC, BIND = mounts.MS_PRIVATE, mounts.MS_REC, mounts.MS_BIND


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            ("proc", b"/proc", "proc", mounts.MS_NOSUID | mounts.MS_NOEXEC | mounts.MS_NODEV, 0, ""),
        ),
        (
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "ro", "size=64k"]},
            ("tmpfs", b"/dev", "tmpfs", mounts.MS_RDONLY, 0, "mode=755,size=64k"),
        ),
        (
            {"destination": "/d", "type": "bind", "source": "/s", "options": ["rbind", "rslave", "ro"]},
            ("bind", b"/d", "/s", BIND | REC | mounts.MS_RDONLY, mounts.MS_SLAVE | REC, ""),
        ),
        (
            {"destination": "/d", "source": "/s", "options": ["bind", "ro", "rw", "nosuid", "suid"]},
            ("bind", b"/d", "/s", BIND, 0, ""),
        ),
        ({"destination": "/d", "type": "tmpfs"}, ("tmpfs", b"/d", "tmpfs", 0, 0, "")),
    ],
    ids=["proc", "data", "recursive bind", "the last word holds", "nothing said"],
)
def test_mounts(wanted: dict[str, Any], expected: tuple[object, ...]) -> None:
    assert made(mounts=[wanted])["mounts"] == [expected]


def test_the_default_devices_are_there_and_can_be_made_otherwise() -> None:
    devices = {path: rest for path, *rest in made()["devices"]}
    assert set(devices) == {b"/dev/null", b"/dev/zero", b"/dev/full", b"/dev/random", b"/dev/urandom", b"/dev/tty"}
    assert all(stat.S_ISCHR(mode) and stat.S_IMODE(mode) == 0o666 for mode, *_ in devices.values())
    more = [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 4, "gid": 5},
        {"path": "/dev/disk", "type": "b", "major": 8, "minor": 1},
        {"path": "/dev/pipe", "type": "p"},
    ]
    devices = {path: rest for path, *rest in made(linux={"devices": more})["devices"]}
    assert devices[b"/dev/null"] == [stat.S_IFCHR | 0o600, 0x103, 4, 5]
    assert devices[b"/dev/disk"] == [stat.S_IFBLK | 0o666, 0x801, 0, 0]
    assert stat.S_ISFIFO(devices[b"/dev/pipe"][0])


def test_the_rest_of_the_linux_part() -> None:
    found = made(
        linux={
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "sysctl": {"net.ipv4.ip_forward": 1},
            "rootfsPropagation": "shared",
        },
        root={"readonly": True},
        hostname="boat",
        domainname="sea",
    )
    assert (found["masked"], found["read_only_paths"]) == ([b"/proc/kcore"], [b"/proc/sys"])
    assert found["sysctl"] == [(b"/proc/sys/net/ipv4/ip_forward", "1")]
    assert found["propagation"] == mounts.MS_SHARED
    assert (found["read_only"], found["hostname"], found["domainname"]) == (True, b"boat", b"sea")
