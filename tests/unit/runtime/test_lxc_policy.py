"""OCI's seccomp rules in LXC's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.errors import Invalid, Unsupported
from sampan_runtime.lxc.policy import policy


def profile(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **rest: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **rest}


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **rest: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **rest}


def test_what_is_not_named_is_refused_with_the_default_error() -> None:
    assert policy(profile(rule("read", "write"), defaultErrnoRet=38)) == (
        "2\nallowlist errno 38\n[all]\nread allow\nwrite allow\n"
    )


def test_what_is_named_is_refused_where_all_else_is_allowed() -> None:
    text = policy(profile(rule("mkdir", action="SCMP_ACT_ERRNO", errnoRet=95), default="SCMP_ACT_ALLOW"))
    assert text == "2\ndenylist allow\n[all]\nmkdir errno 95\n"


def test_arguments_are_compared_and_masks_are_on_their_side() -> None:
    plain = {"index": 0, "value": 40, "op": "SCMP_CMP_NE"}
    masked = {"index": 1, "value": 0x7E020000, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}
    lines = policy(profile(rule("socket", args=[plain]), rule("clone", args=[masked, plain]))).splitlines()
    assert lines[3:] == [
        "socket allow [0,40,SCMP_CMP_NE]",
        f"clone allow [1,1,SCMP_CMP_MASKED_EQ,{0x7E020000}] [0,40,SCMP_CMP_NE]",
    ]


def test_a_rule_that_says_what_the_default_says_is_left_out() -> None:
    assert "mkdir" not in policy(profile(rule("mkdir", action="SCMP_ACT_ERRNO", errnoRet=1)))


@pytest.mark.parametrize("name", ["read\nptrace allow", "read allow", "", "[x86]", "#"])
def test_a_name_cannot_be_another_line(name: str) -> None:
    with pytest.raises(Invalid):
        policy(profile(rule(name)))


def test_what_lxc_has_no_word_for_is_named() -> None:
    with pytest.raises(Unsupported, match="SCMP_ACT_TRACE"):
        policy(profile(rule("read", action="SCMP_ACT_TRACE")))
    with pytest.raises(Unsupported, match="SCMP_ACT_LOG"):
        policy(profile(default="SCMP_ACT_LOG"))


def test_a_comparison_that_is_none_is_named() -> None:
    with pytest.raises(Invalid, match="SCMP_CMP_LIKE"):
        policy(profile(rule("read", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}])))
