"""OCI ``linux.seccomp`` in the words of LXC's seccomp policies, version 2 (lxc.container.conf(5), lxc.seccomp.profile).

LXC compiles such a file each time it starts a container, for all that the machine can execute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sampan.drivers.errors import Invalid, Unsupported

_ACTIONS = {
    "SCMP_ACT_ALLOW": "allow",
    "SCMP_ACT_KILL": "kill",
    "SCMP_ACT_KILL_THREAD": "kill",
    "SCMP_ACT_TRAP": "trap",
}
_OPERATORS = frozenset(
    {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"}
)
_NAME = re.compile(r"[a-zA-Z0-9_]+")
_EPERM = 1


def policy(profile: Mapping[str, Any]) -> str:
    """The text of the file. ``Unsupported`` names an action that LXC has no word for, ``Invalid`` what is nonsense."""
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    lines = ["2", f"{'denylist' if default == 'allow' else 'allowlist'} {default}", "[all]"]
    for rule in profile.get("syscalls") or ():
        action = _action(rule["action"], rule.get("errnoRet"))
        if action == default:
            continue  # libseccomp refuses a rule that says what the default says
        arguments = "".join(f" {_argument(each)}" for each in rule.get("args") or ())
        lines += [f"{_checked(name)} {action}{arguments}" for name in rule["names"]]
    return "\n".join(lines) + "\n"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} in the seccomp profile is no name of a system call")
    return name


def _action(name: str, number: int | None) -> str:
    if name == "SCMP_ACT_ERRNO":
        return f"errno {_EPERM if number is None else number}"
    if name not in _ACTIONS:
        raise Unsupported(f"LXC's seccomp policies have no word for {name!r}; they have {', '.join(sorted(_ACTIONS))}")
    return _ACTIONS[name]


def _argument(wanted: Mapping[str, Any]) -> str:
    """``[index,value,operator,mask]``; OCI's masked comparison has the mask first, LXC's the value."""
    operator = wanted["op"]
    if operator not in _OPERATORS:
        raise Invalid(f"unknown comparison {operator!r} in the seccomp profile")
    first, second = int(wanted["value"]), int(wanted.get("valueTwo") or 0)
    if operator == "SCMP_CMP_MASKED_EQ":
        return f"[{int(wanted['index'])},{second},{operator},{first}]"
    return f"[{int(wanted['index'])},{first},{operator}]"
