"""Seccomp profiles compiled to filter programs: what they decide, tried on a small machine for such programs."""

from __future__ import annotations

import errno
import platform
import struct
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers.errors import Invalid
from sampan_runtime.filters import Filters, compile_profile

ALLOW, ERRNO, KILL, LOG = 0x7FFF0000, 0x00050000, 0x00000000, 0x7FFC0000  # seccomp(2), SECCOMP_RET_*
X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64
READ, WRITE, KILL_CALL, MKDIR, PERSONALITY = 0, 1, 62, 83, 135

only_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are x86-64's")
pytestmark = only_x86_64


def decide(program: bytes, number: int, *args: int, architecture: int = X86_64) -> int:
    """What the kernel would answer: an interpreter for the classic BPF that seccomp allows (seccomp(2))."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*args, *[0] * (6 - len(args))))
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, true, false, k = instructions[at]
        at += 1
        if code == 0x20:  # load a word
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:  # return
            return int(k)
        elif code == 0x54:  # and
            accumulator &= k
        elif code == 0x05:  # jump always
            at += k
        else:
            test = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}
            at += true if test[code] else false


def profile(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


def rule(*names: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def test_the_default_stands_for_what_no_rule_names() -> None:
    program = compile_profile(profile(rule("mkdir")))
    assert decide(program, MKDIR) == ERRNO | errno.EPERM
    assert decide(program, READ) == ALLOW


def test_a_list_of_what_is_allowed() -> None:
    allowed = rule("read", "write", action="SCMP_ACT_ALLOW")
    program = compile_profile(profile(allowed, default="SCMP_ACT_ERRNO", defaultErrnoRet=errno.ENOSYS))
    assert decide(program, READ) == ALLOW
    assert decide(program, WRITE) == ALLOW
    assert decide(program, MKDIR) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("SCMP_ACT_KILL", KILL),
        ("SCMP_ACT_KILL_THREAD", KILL),
        ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x00030000),
        ("SCMP_ACT_LOG", LOG),
        ("SCMP_ACT_ERRNO", ERRNO | errno.EPERM),
    ],
)
def test_actions(action: str, answer: int) -> None:
    assert decide(compile_profile(profile(rule("mkdir", action=action))), MKDIR) == answer


def test_a_rules_own_error_number() -> None:
    program = compile_profile(profile(rule("mkdir", errnoRet=errno.EROFS), rule("read", errnoRet=0)))
    assert decide(program, MKDIR) == ERRNO | errno.EROFS
    assert decide(program, READ) == ERRNO


@pytest.mark.parametrize(
    ("operator", "value", "two", "refused", "passed"),
    [
        ("SCMP_CMP_EQ", 9, 0, 9, 8),
        ("SCMP_CMP_NE", 9, 0, 8, 9),
        ("SCMP_CMP_LT", 9, 0, 8, 9),
        ("SCMP_CMP_LE", 9, 0, 9, 10),
        ("SCMP_CMP_GT", 9, 0, 10, 9),
        ("SCMP_CMP_GE", 9, 0, 9, 8),
        ("SCMP_CMP_MASKED_EQ", 0xF0, 0x30, 0x3F, 0x4F),
        ("SCMP_CMP_EQ", 1 << 40, 0, 1 << 40, 0),
    ],
)
def test_comparisons_of_arguments(operator: str, value: int, two: int, refused: int, passed: int) -> None:
    argument = {"index": 1, "value": value, "valueTwo": two, "op": operator}
    program = compile_profile(profile(rule("kill", args=[argument])))
    assert decide(program, KILL_CALL, 0, refused) == ERRNO | errno.EPERM
    assert decide(program, KILL_CALL, 0, passed) == ALLOW


def test_all_arguments_of_a_rule_must_match_and_one_of_several_rules() -> None:
    both = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]
    program = compile_profile(profile(rule("kill", args=both), rule("kill", args=[{**both[1], "value": 3}])))
    assert decide(program, KILL_CALL, 1, 2) == ERRNO | errno.EPERM
    assert decide(program, KILL_CALL, 0, 2) == ALLOW
    assert decide(program, KILL_CALL, 0, 3) == ERRNO | errno.EPERM


def test_a_call_that_nobody_knows_is_passed_over() -> None:
    program = compile_profile(profile(rule("brew_tea", "mkdir")))
    assert decide(program, MKDIR) == ERRNO | errno.EPERM


def test_a_rule_that_says_what_the_default_says_is_no_error() -> None:
    program = compile_profile(profile(rule("mkdir", action="SCMP_ACT_ALLOW")))
    assert decide(program, MKDIR) == ALLOW


def test_the_same_call_in_another_architectures_numbers_is_no_way_around() -> None:
    program = compile_profile(profile(rule("mkdir")))
    i386, mkdir_on_i386 = 0x40000003, 39
    assert decide(program, mkdir_on_i386, architecture=i386) == ERRNO | errno.EPERM
    assert decide(program, 0x40000000 + MKDIR) in (ERRNO | errno.EPERM, KILL), "x32"


def test_an_unknown_architecture_is_not_let_through() -> None:
    assert decide(compile_profile(profile(rule("mkdir"))), MKDIR, architecture=0xC00000B7) != ALLOW


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (profile(rule("mkdir", action="SCMP_ACT_DANCE")), "SCMP_ACT_DANCE"),
        (profile(default="SCMP_ACT_WAIT"), "SCMP_ACT_WAIT"),
        (profile(rule("kill", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}])), "SCMP_CMP_LIKE"),
    ],
)
def test_what_is_wrong_with_a_profile_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        compile_profile(wrong)


def test_a_profile_is_compiled_once_and_kept_for_the_next_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Filters(tmp_path / "seccomp").program(profile(rule("mkdir")))
    assert [path.read_bytes() for path in (tmp_path / "seccomp").iterdir()] == [first]

    def compile_again(_: object) -> bytes:
        raise AssertionError("it was compiled again")

    monkeypatch.setattr("sampan_runtime.filters.compile_profile", compile_again)
    later = Filters(tmp_path / "seccomp")
    assert later.program(profile(rule("mkdir"))) == first
    assert later.program(profile(rule("mkdir"))) == first


def test_another_profile_is_another_program(tmp_path: Path) -> None:
    filters = Filters(tmp_path)
    assert filters.program(profile(rule("mkdir"))) != filters.program(profile(rule("rmdir")))
