"""OCI device rules as an eBPF program: what the devices controller of version 1 did, for version 2 (cgroup-v2.rst).

The kernel runs the program at each mknod(2) and open(2) of a device by a process of the group, with a
``struct bpf_cgroup_dev_ctx``: what is wanted (bits), of which type, major and minor number. It answers 1 or 0.

The last rule that matches decides (runtime-spec config-linux.md, "Allowed Device list"), for each of read, write and
mknod by itself. So the program asks the rules from the last to the first: a rule that denies something that is still
wanted ends it with 0; a rule that allows takes what it allows off what is wanted, and ends it with 1 if that was all.
What no rule speaks of is allowed, as in a new group of version 1.

Instructions: the kernel's Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sampan.drivers.errors import Invalid

_BITS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL = 7
_TYPES = {"b": 1, "c": 2, "u": 2}  # BPF_DEVCG_DEV_*

_ANSWER, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)  # the registers, and what we keep in them
_LOAD_WORD, _MOVE, _COPY, _AND, _SHIFT_RIGHT = 0x61, 0xB4, 0xBC, 0x54, 0x74  # 32 bits wide
_UNLESS_EQUAL, _IF_EQUAL, _EXIT = 0x55, 0x15, 0x95
_ACCESS_TYPE_AT, _MAJOR_AT, _MINOR_AT = 0, 4, 8  # in struct bpf_cgroup_dev_ctx

Instruction = tuple[int, int, int, int, int]
"""Operation, destination, source, offset, immediate value."""


def program(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """The rules (OCI's ``linux.resources.devices``) as an array of ``struct bpf_insn``. ``Invalid`` names a bad one."""
    code: list[Instruction] = [
        (_LOAD_WORD, _TYPE, _CONTEXT, _ACCESS_TYPE_AT, 0),
        (_COPY, _WANTED, _TYPE, 0, 0),
        (_AND, _TYPE, 0, 0, 0xFFFF),
        (_SHIFT_RIGHT, _WANTED, 0, 0, 16),
        (_LOAD_WORD, _MAJOR, _CONTEXT, _MAJOR_AT, 0),
        (_LOAD_WORD, _MINOR, _CONTEXT, _MINOR_AT, 0),
    ]
    for rule in reversed(rules):
        conditions, verdict = _conditions(rule), _verdict(rule)
        # Each condition that does not hold jumps over those that follow it and the verdict.
        for at, (register, value) in enumerate(conditions):
            code.append((_UNLESS_EQUAL, register, 0, len(conditions) - at - 1 + len(verdict), value))
        code += verdict
        if not conditions and len(verdict) == len(_end(0)):
            break  # it decides whatever comes here, and the kernel refuses programs with parts that are never reached
    else:
        code += _end(1)
    return b"".join(_encode(code))


def _conditions(rule: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Registers and the values that they need to have for the rule to match."""
    kind = rule.get("type") or "a"
    if kind != "a" and kind not in _TYPES:
        raise Invalid(f"a rule for devices has the type {kind!r}: a, b, c and u are possible")
    found = [] if kind == "a" else [(_TYPE, _TYPES[kind])]
    for register, number in ((_MAJOR, rule.get("major")), (_MINOR, rule.get("minor"))):
        if number is not None and number != -1:
            found.append((register, number))
    return found


def _verdict(rule: Mapping[str, Any]) -> list[Instruction]:
    letters = set(rule.get("access") or "rwm")
    if not letters <= set(_BITS):
        raise Invalid(f"a rule for devices allows or denies {rule['access']!r}: only r, w and m are possible")
    access = sum(_BITS[letter] for letter in letters)
    if access == _ALL:
        return _end(int(rule["allow"]))
    if rule["allow"]:
        return [(_AND, _WANTED, 0, 0, _ALL & ~access), (_UNLESS_EQUAL, _WANTED, 0, len(_end(1)), 0), *_end(1)]
    return [
        (_COPY, _ANSWER, _WANTED, 0, 0),
        (_AND, _ANSWER, 0, 0, access),
        (_IF_EQUAL, _ANSWER, 0, len(_end(0)), 0),
        *_end(0),
    ]


def _end(answer: int) -> list[Instruction]:
    return [(_MOVE, _ANSWER, 0, 0, answer), (_EXIT, 0, 0, 0, 0)]


def _encode(code: list[Instruction]) -> Iterator[bytes]:
    for operation, destination, source, offset, value in code:
        yield struct.pack("=BBhi", operation, destination | source << 4, offset, value)
