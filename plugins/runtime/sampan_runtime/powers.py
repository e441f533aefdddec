"""Giving up powers, as steps (see ``steps``): for processes in which there is no interpreter.

The order is the kernel's: capabilities(7), setresuid(2), seccomp(2).
"""

from __future__ import annotations

import struct

from sampan.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan_runtime.steps import Calls, Steps

_CAPABILITIES = 41  # up to CHECKPOINT_RESTORE; a kernel that has fewer refuses the others
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_LOW = 0xFFFFFFFF
_WORD = (1 << 64) - 1


def limit_bounding(made: Steps, calls: Calls, kept: int) -> None:
    for number in range(_CAPABILITIES):
        if not kept >> number & 1:
            made.attempt(calls.prctl, _PR_CAPBSET_DROP, number, 0, 0, 0)


def give_up(made: Steps, calls: Calls, order: dict[str, Any]) -> None:
    """Become the order's user with its groups and capabilities."""
    sets, groups = order["capabilities"], order["groups"]
    made.call(calls.prctl, process.PR_SET_KEEPCAPS, 1, 0, 0, 0)
    made.call(calls.setgroups, len(groups), struct.pack(f"={len(groups)}I", *groups))
    made.call(calls.setresgid, *[order["gid"]] * 3)
    made.call(calls.setresuid, *[order["uid"]] * 3)
    made.call(calls.capset, struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), _capability_sets(sets))
    for number in range(_CAPABILITIES):
        if sets["ambient"] >> number & 1:
            made.call(calls.prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)


def limit(soft: int, hard: int) -> bytes:
    """``struct rlimit64`` (prlimit(2)); -1 is no limit."""
    return struct.pack("=QQ", soft & _WORD, hard & _WORD)


def _capability_sets(sets: dict[str, int]) -> bytes:
    """``struct __user_cap_data_struct``, twice: the lower halves, then the upper ones (capset(2))."""
    kinds = [sets[name] for name in ("effective", "permitted", "inheritable")]
    return struct.pack("=6I", *(each & _LOW for each in kinds), *(each >> 32 for each in kinds))
