"""Device rules as an eBPF program, run by a small machine of our own, and by the kernel's."""

from __future__ import annotations

import itertools
import os
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.drivers.errors import Invalid
from sampan.linux import bpf, cgroups
from sampan_runtime.control import devices

BLOCK, CHARACTER = 1, 2
MKNOD, READ, WRITE = 1, 2, 4
WANTED = range(1, 8)

NUMBERS = st.one_of(st.none(), st.sampled_from([-1, 0, 1, 3, 136]))
RULES = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans()},
        optional={
            "type": st.sampled_from(["a", "b", "c", "u", None]),
            "major": NUMBERS,
            "minor": NUMBERS,
            "access": st.sampled_from(["", "r", "w", "m", "rw", "wm", "rwm", "mr"]),
        },
    ),
    max_size=8,
)


def answer(program: bytes, wanted: int, kind: int, major: int, minor: int) -> int:
    """What the program says, by the instruction set's description."""
    code = [struct.unpack_from("=BBhi", program, at) for at in range(0, len(program), 8)]
    context = struct.pack("=III", wanted << 16 | kind, major, minor)
    registers, at = [0] * 11, 0
    for _ in range(len(code)):
        operation, names, offset, value = code[at]
        to, source = names & 15, names >> 4
        at += 1
        match operation:
            case 0x61:
                assert source == 1, "only the context is read"
                [registers[to]] = struct.unpack_from("=I", context, offset)
            case 0xB4:
                registers[to] = value
            case 0xBC:
                registers[to] = registers[source]
            case 0x54:
                registers[to] &= value
            case 0x74:
                registers[to] >>= value
            case 0x55:
                at += offset if registers[to] != value else 0
            case 0x15:
                at += offset if registers[to] == value else 0
            case 0x95:
                return registers[0]
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")
    raise AssertionError("it never ended")


def expected(rules: list[dict[str, Any]], wanted: int, kind: int, major: int, minor: int) -> int:
    """The same by the words of the specification: for each thing wanted, the last rule that speaks of it."""
    for letter, bit in (("m", MKNOD), ("r", READ), ("w", WRITE)):
        allowed = True
        for rule in rules:
            if (
                rule.get("type") in (None, "a", *(("b",) if kind == BLOCK else ("c", "u")))
                and rule.get("major") in (None, -1, major)
                and rule.get("minor") in (None, -1, minor)
                and letter in (rule.get("access") or "rwm")
            ):
                allowed = rule["allow"]
        if wanted & bit and not allowed:
            return 0
    return 1


@given(RULES)
@settings(deadline=None)
def test_the_last_rule_that_matches_decides(rules: list[dict[str, Any]]) -> None:
    program = devices.program(rules)
    for wanted, kind, major, minor in itertools.product(WANTED, (BLOCK, CHARACTER), (0, 1, 136, 4095), (0, 3, 7)):
        given_ = (wanted, kind, major, minor)
        assert answer(program, *given_) == expected(rules, *given_), given_


@given(RULES)
@settings(deadline=None)
def test_every_instruction_can_be_reached(rules: list[dict[str, Any]]) -> None:
    """The kernel refuses a program with parts that cannot."""
    program = devices.program(rules)
    reached, todo = set[int](), [0]
    while todo:
        at = todo.pop()
        if at in reached:
            continue
        reached.add(at)
        operation, _, offset, _ = struct.unpack_from("=BBhi", program, at * 8)
        todo += {0x95: [], 0x55: [at + 1, at + 1 + offset], 0x15: [at + 1, at + 1 + offset]}.get(operation, [at + 1])
    assert reached == set(range(len(program) // 8))


@pytest.mark.parametrize("rule", [{"allow": True, "type": "x"}, {"allow": False, "access": "rx"}])
def test_a_wrong_rule_is_named(rule: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"'r?x'"):
        devices.program([rule])


@pytest.fixture
def group() -> Iterator[Path]:
    """A version 2 group of this test's own."""
    place = cgroups.hierarchies().get(cgroups.V2)
    if not place:
        pytest.skip("this machine has no version 2 hierarchy")
    try:
        os.close(bpf.load_device_program(devices.program([])))
    except OSError as error:
        pytest.skip(f"this kernel takes no programs for devices: {error.strerror}")
    path = Path(place, f"sampan-test-{uuid.uuid4().hex[:8]}")
    path.mkdir()
    yield path
    cgroups.remove(str(path))


@pytest.mark.root
def test_the_kernel_lets_the_group_do_what_the_rules_say_and_no_more(group: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rm"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
    ]
    fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    bpf.guard_devices(fd, devices.program(rules))
    os.close(fd)
    attempts = [
        ("/dev/null", os.O_RDONLY, True),
        ("/dev/null", os.O_WRONLY, False),
        ("/dev/zero", os.O_RDONLY, True),
        ("/dev/zero", os.O_RDWR, False),
        ("/dev/full", os.O_RDONLY, False),
        ("/etc/passwd", os.O_RDONLY, True),
    ]
    assert in_group(group, [(path, flags) for path, flags, _ in attempts]) == [allowed for _, _, allowed in attempts]
    assert all(may_open(path, flags) for path, flags, _ in attempts), "others are not concerned"


def in_group(group: Path, attempts: list[tuple[str, int]]) -> list[bool]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        (group / "cgroup.procs").write_text("0")
        os.write(writer, bytes(may_open(path, flags) for path, flags in attempts))
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    told = os.read(reader, 100)
    os.close(reader)
    return [bool(each) for each in told]


def may_open(path: str, flags: int) -> bool:
    try:
        os.close(os.open(path, flags))
    except PermissionError:
        return False
    return True


@pytest.mark.root
@given(rules=RULES)
@settings(deadline=None)
def test_the_kernel_takes_every_program(rules: list[dict[str, Any]]) -> None:
    try:
        os.close(bpf.load_device_program(devices.program([])))
    except OSError as error:
        pytest.skip(f"this kernel takes no programs for devices: {error.strerror}")
    os.close(bpf.load_device_program(devices.program(rules)))
