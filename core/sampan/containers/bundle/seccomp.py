"""From seccomp rules to OCI's ``linux.seccomp`` for one container: the default profile, or one that the user brings.

A profile in Docker's format says more than OCI's: a rule may hold only with or without a capability, on some
architectures, or from a kernel version on. Resolving answers those questions, and leaves plain OCI.
"""

from __future__ import annotations

import errno
import functools
import os
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

import msgspec

from sampan.containers.bundle import seccomp_rules as known
from sampan.errors import Invalid, Unsupported

MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x"}
ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"

Action = Literal[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
]
Compare = Literal[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Errno = Annotated[int, msgspec.Meta(ge=0, le=4095)]


class Argument(msgspec.Struct, omit_defaults=True):
    index: Annotated[int, msgspec.Meta(ge=0, le=5)]
    value: Natural
    op: Compare
    valueTwo: Natural = 0


class Condition(msgspec.Struct):
    caps: list[str] = []
    arches: list[str] = []
    minKernel: str = ""


class Rule(msgspec.Struct):
    action: Action
    names: list[str] = []
    name: str = ""
    args: list[Argument] | None = None
    errnoRet: Errno | None = None
    includes: Condition = msgspec.field(default_factory=Condition)
    excludes: Condition = msgspec.field(default_factory=Condition)


class ArchitectureMap(msgspec.Struct):
    architecture: str
    subArchitectures: list[str] | None = None


class Profile(msgspec.Struct):
    defaultAction: Action
    defaultErrnoRet: Errno | None = None
    architectures: list[str] | None = None
    archMap: list[ArchitectureMap] | None = None
    syscalls: list[Rule] | None = None
    flags: list[str] | None = None


def check(profile: Any) -> Profile:
    """A profile in Docker's format. Raises ``Invalid`` with what is wrong in it."""
    try:
        return msgspec.convert(profile, Profile)
    except msgspec.ValidationError as error:
        raise Invalid(f"opening seccomp profile failed: {error}") from None


def default(capabilities: Collection[str]) -> dict[str, Any]:
    """The default profile for a container with these capabilities."""
    cached = _default(frozenset(capabilities))
    rules = [{**rule, "names": list(rule["names"])} for rule in cached["syscalls"]]  # hooks may change what they get
    return {**cached, "architectures": list(cached["architectures"]), "syscalls": rules}


@functools.lru_cache(maxsize=64)
def _default(capabilities: frozenset[str]) -> dict[str, Any]:
    machine = _machine()
    names = " ".join(
        [*known.ALWAYS.values(), known.TRACING, known.BY_ARCHITECTURE.get(machine, "")]
        + [granted for capability, granted in known.BY_CAPABILITY.items() if capability in capabilities]
    )
    syscalls: list[dict[str, Any]] = [{"names": sorted(set(names.split())), "action": ALLOW}]
    syscalls += [{"names": ["socket"], "action": ALLOW, "args": [family]} for family in known.SOCKET_FAMILIES]
    syscalls += [
        {"names": ["personality"], "action": ALLOW, "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}
        for value in known.PERSONALITIES
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        flags = {"index": int(machine == "s390x"), "value": known.NAMESPACE_FLAGS, "op": "SCMP_CMP_MASKED_EQ"}
        syscalls.append({"names": ["clone"], "action": ALLOW, "args": [flags]})
        syscalls.append({"names": ["clone3"], "action": ERRNO, "errnoRet": errno.ENOSYS})
    return {
        "defaultAction": ERRNO,
        "defaultErrnoRet": errno.EPERM,
        "architectures": list(known.COMPATIBLE[machine]),
        "syscalls": syscalls,
    }


def resolve(profile: Any, capabilities: Collection[str]) -> dict[str, Any]:
    """The user's profile for a container with these capabilities. Raises ``Invalid`` with what is wrong in it."""
    read = check(profile)
    if read.architectures and read.archMap:
        raise Invalid("both 'architectures' and 'archMap' are specified in the seccomp profile, use either one")
    seccomp: dict[str, Any] = {
        "defaultAction": read.defaultAction,
        "architectures": read.architectures or _architectures(read.archMap or ()),
        "syscalls": [_rule(rule) for rule in read.syscalls or () if _holds(rule, capabilities)],
    }
    if read.defaultErrnoRet is not None:
        seccomp["defaultErrnoRet"] = read.defaultErrnoRet
    if read.flags:
        seccomp["flags"] = read.flags
    return {key: value for key, value in seccomp.items() if value or key != "architectures"}


def _architectures(maps: Collection[ArchitectureMap]) -> list[str]:
    native = known.COMPATIBLE[_machine()][0]
    return [
        name for entry in maps if entry.architecture == native for name in [native, *(entry.subArchitectures or ())]
    ]


def _holds(rule: Rule, capabilities: Collection[str]) -> bool:
    wanted, unwanted = rule.includes, rule.excludes
    machine = _machine()
    return not (
        (wanted.arches and machine not in wanted.arches)
        or any(capability not in capabilities for capability in wanted.caps)
        or (wanted.minKernel and _kernel(os.uname().release) < _kernel(wanted.minKernel))
        or machine in unwanted.arches
        or any(capability in capabilities for capability in unwanted.caps)
        or (unwanted.minKernel and _kernel(os.uname().release) >= _kernel(unwanted.minKernel))
    )


def _rule(rule: Rule) -> dict[str, Any]:
    if bool(rule.name) == bool(rule.names):
        raise Invalid("every rule of a seccomp profile needs either 'name' or 'names'")
    result: dict[str, Any] = {"names": rule.names or [rule.name], "action": rule.action}
    if any(value >= 2**64 for argument in rule.args or () for value in (argument.value, argument.valueTwo)):
        raise Invalid("a value in the seccomp profile is larger than 64 bits")
    if rule.args:
        result["args"] = msgspec.to_builtins(rule.args)
    if rule.errnoRet is not None:
        result["errnoRet"] = rule.errnoRet
    return result


def _kernel(text: str) -> tuple[int, int]:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text)
    if not match:
        raise Invalid(f"invalid kernel version in the seccomp profile: {text}")
    return int(match[1]), int(match[2])


def _machine() -> str:
    machine = os.uname().machine
    if machine not in MACHINES:
        raise Unsupported(f"no seccomp rules are known for the architecture {machine}: use seccomp=unconfined")
    return MACHINES[machine]
