"""LXC's configuration of a container, from OCI's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.drivers.types import Bundle, Host
from sampan.errors import Invalid, SampanError, Unsupported
from sampan.testing.runtime.spec import command
from sampan_runtime.lxc import config
from sampan_runtime.lxc.driver import Lxc

ID = "c" * 64
EVIL = "x\nlxc.cap.keep = sys_admin\nlxc.rootfs.path = dir:/"


def lines(spec: dict[str, Any]) -> list[str]:
    """The keys and values, without comments."""
    made = config.lines(spec, config.process(spec["process"]), "")
    text = b"\n".join(made).decode(errors="surrogateescape")
    return [line for line in text.split("\n") if not line.lstrip().startswith("#")]


def values(spec: dict[str, Any], key: str) -> list[str]:
    found = [line.partition(" = ")[2] for line in lines(spec) if line.partition(" = ")[0] == key]
    return [value[1:-1] if value[:1] == '"' else value for value in found]


def test_the_process_is_what_it_is_to_be() -> None:
    process = {
        "user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 77]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "noNewPrivileges": True,
    }
    spec = command("true", process=process)
    assert values(spec, "lxc.init.uid") == ["1000"]
    assert values(spec, "lxc.init.gid") == ["1001"]
    assert values(spec, "lxc.init.groups") == ["5,77"]
    assert values(spec, "lxc.prlimit.nofile") == ["10:20"]
    assert values(spec, "lxc.prlimit.core") == ["0:0"]
    assert values(spec, "lxc.no_new_privs") == ["1"]


def test_no_capabilities_are_said_as_none() -> None:
    assert values(command("true", process={"capabilities": {}}), "lxc.cap.keep") == ["none"]


def test_namespaces_are_made_or_joined() -> None:
    spec = command("true")
    spec["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "cgroup")] + [
        {"type": "network", "path": "/run/a b/netns"},
        {"type": "pid", "path": "/proc/7/ns/pid"},
    ]
    assert values(spec, "lxc.namespace.clone") == ["mnt cgroup"]
    assert values(spec, "lxc.namespace.share.net") == ["/run/a b/netns"]
    assert values(spec, "lxc.namespace.share.pid") == ["/proc/7/ns/pid"]


@pytest.mark.parametrize(
    "namespaces",
    [
        [{"type": "mount"}, {"type": "user"}],
        [{"type": "pid"}],
        [{"type": "mount"}, {"type": "network", "path": "/x"}],  # the host's cgroups
    ],
)
def test_what_lxc_cannot_do_with_namespaces_is_refused(namespaces: list[dict[str, str]]) -> None:
    with pytest.raises(Unsupported):
        lines(command("true", linux={"namespaces": namespaces}))


def test_no_value_becomes_another_key() -> None:
    spec = command("sh", "-c", EVIL, process={"env": [f"A={EVIL}", f"B{EVIL}=1", "C=#x"], "cwd": f"/{EVIL}"})
    spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": EVIL}
    assert [line for line in lines(spec) if "sys_admin" in line or "dir:/" in line] == []
    assert values(spec, "lxc.environment") == ["C=#x"]


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": EVIL},
        {"linux": {"namespaces": [{"type": "mount"}, {"type": "cgroup"}, {"type": "network", "path": f"/{EVIL}"}]}},
    ],
)
def test_what_cannot_be_written_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        lines(command("true", **change))


@pytest.mark.parametrize("key", ["net.ipv4.a\nb", "a\0b"])
def test_a_kernel_setting_is_no_path(key: str) -> None:
    with pytest.raises(Invalid):
        config.sysctls(command("true", linux={"sysctl": {key: "1"}}))


def test_settings_of_a_network_that_is_there_are_made_ahead() -> None:
    spec = command("true", domainname="sea", linux={"sysctl": {"net.a": "1", "kernel.msgmax": "2"}})
    spec["linux"]["namespaces"] = [{"type": "network", "path": "/x"}]
    early, late = config.sysctls(spec)
    assert early == [("/proc/sys/net/a", "1")]
    assert late == [("/proc/sys/kernel/msgmax", "2"), ("/proc/sys/kernel/domainname", "sea")]


def test_a_mount_that_others_are_to_see_is_refused() -> None:
    mount = {"destination": "/x", "type": "bind", "source": "/y", "options": ["rbind", "rshared"]}
    with pytest.raises(Unsupported, match="/x"):
        config.mounts(command("true", mounts=[mount]))


def test_limits_are_those_of_either_version_of_cgroups() -> None:
    writes = [("/sys/fs/cgroup/pids/a/b/pids.max", "9"), ("/sys/fs/cgroup/unified/a/b/memory.max", "max")]
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    assert config.cgroups(writes, "/sys/fs/cgroup/unified", rules) == [
        b"lxc.cgroup.pids.max = 9",
        b"lxc.cgroup2.memory.max = max",
        b"lxc.cgroup2.devices.deny = a",
        b'lxc.cgroup2.devices.allow = "c 1:3 rw"',
    ]


def test_without_proc_nothing_could_be_executed(tmp_path: Path) -> None:
    host = Host(instance="0" * 8, data_root=tmp_path / "data", exec_root=tmp_path / "exec")
    spec = command("true")
    spec["mounts"] = [each for each in spec["mounts"] if each["destination"] != "/proc"]
    with pytest.raises(SampanError, match="/proc"):
        Lxc(host, Lxc.Options()).order(Bundle(id=ID, path=tmp_path, spec=spec))
