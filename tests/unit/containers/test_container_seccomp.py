"""Seccomp rules, capabilities and security options."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from sampan.containers.bundle import capabilities, seccomp
from sampan.containers.requests import security
from sampan.errors import Invalid


def actions(profile: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [rule for rule in profile["syscalls"] if name in rule["names"]]


def test_the_default_profile() -> None:
    profile = seccomp.default(capabilities.DEFAULT)
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", errno.EPERM)
    assert actions(profile, "openat")[0]["action"] == "SCMP_ACT_ALLOW"
    for name in ("mount", "unshare", "bpf", "io_uring_setup", "keyctl", "kexec_load", "init_module", "userfaultfd"):
        assert not actions(profile, name), name
    assert actions(profile, "chroot")  # CAP_SYS_CHROOT is among the default ones
    [clone] = actions(profile, "clone")
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}]
    [clone3] = actions(profile, "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)
    assert len(actions(profile, "socket")) == 3
    assert {rule["args"][0]["value"] for rule in actions(profile, "personality")} == {0, 8, 0x20000, 0x20008, 2**32 - 1}


def test_capabilities_open_more() -> None:
    profile = seccomp.default([*capabilities.DEFAULT, "CAP_SYS_ADMIN"])
    assert [rule["action"] for rule in actions(profile, "clone3")] == ["SCMP_ACT_ALLOW"]
    assert actions(profile, "mount")
    assert "args" not in actions(profile, "clone")[0]


def test_nobody_can_spoil_the_default() -> None:
    spoilt = seccomp.default(capabilities.DEFAULT)
    spoilt["syscalls"][0]["names"].clear()
    spoilt["syscalls"].clear()
    assert actions(seccomp.default(capabilities.DEFAULT), "read")


def test_a_profile_in_dockers_format() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": name} for name in ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")],
        "syscalls": [
            {"name": "read", "action": "SCMP_ACT_ALLOW", "args": []},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["umount"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["old"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}},
        ],
    }
    names = [rule["names"] for rule in seccomp.resolve(profile, [])["syscalls"]]
    assert names == [["read"], ["umount"]]
    assert len(seccomp.resolve(profile, [])["architectures"]) == 1


@pytest.mark.parametrize(
    "profile",
    [[], {}, {"defaultAction": "X"}, {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG"}]}],
)
def test_a_profile_that_is_none(profile: Any) -> None:
    with pytest.raises(Invalid):
        seccomp.resolve(profile, [])


def test_which_capabilities() -> None:
    assert len(capabilities.DEFAULT) == 14
    chosen = capabilities.chosen
    assert chosen(None, None, privileged=False) == list(capabilities.DEFAULT)
    assert chosen(["net_admin"], ["CAP_CHOWN"], privileged=False)[-1] == "CAP_NET_ADMIN"
    assert "CAP_CHOWN" not in chosen(["net_admin"], ["CAP_CHOWN"], privileged=False)
    assert chosen(["CHOWN"], ["ALL"], privileged=False) == ["CAP_CHOWN"]
    assert "CAP_KILL" not in chosen(["all"], ["KILL"], privileged=False)
    assert set(chosen(None, ["ALL"], privileged=True)) == set(capabilities.known())


def test_security_options() -> None:
    parsed = security.parse(["no-new-privileges", "seccomp=unconfined", "label=disable", "apparmor=unconfined"])
    assert (parsed.no_new_privileges, parsed.seccomp) == (True, "unconfined")
    assert security.parse(["no-new-privileges:false"]).no_new_privileges is False
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert security.parse(["seccomp=" + json.dumps(profile)]).seccomp == profile


def test_modules_that_are_not_used_are_passed_over_with_a_warning() -> None:
    options = ["apparmor=docker-default", "label=level:s0", "label=disable", "apparmor:unconfined"]
    security.parse(options)
    assert [warning.partition(" ")[0] for warning in security.warnings(options)] == ["AppArmor", "SELinux"]
