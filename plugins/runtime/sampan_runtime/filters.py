"""OCI ``linux.seccomp`` compiled to the kernel's filter programs, once per profile.

Compiling takes libseccomp 7 ms, loading the result takes the kernel 0.3: programs are kept in memory and in files, by
the digest of what they were made from.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sampan.drivers.errors import Invalid, Unavailable

_ARCHITECTURES = {"x86_64": ("X86_64", "X86", "X32"), "aarch64": ("AARCH64", "ARM")}
_UNKNOWN = -1  # __NR_SCMP_ERROR, seccomp_syscall_resolve_name(3)
_OPERATORS = {
    "SCMP_CMP_NE": "NE",
    "SCMP_CMP_LT": "LT",
    "SCMP_CMP_LE": "LE",
    "SCMP_CMP_EQ": "EQ",
    "SCMP_CMP_GE": "GE",
    "SCMP_CMP_GT": "GT",
    "SCMP_CMP_MASKED_EQ": "MASKED_EQ",
}


class Filters:
    """Compiled filters, kept under ``directory``. Thread-safe: at worst a profile is compiled twice."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: dict[str, bytes] = {}

    def program(self, profile: Mapping[str, Any]) -> bytes:
        """The profile as an array of ``struct sock_filter``. ``Invalid`` names what libseccomp does not know."""
        text = msgspec.json.encode([platform.machine(), _library(), profile])
        key = hashlib.sha256(text).hexdigest()
        if key not in self._kept:
            self._kept[key] = self._read(key) or self._compile(key, profile)
        return self._kept[key]

    def _read(self, key: str) -> bytes:
        try:
            return (self._directory / key).read_bytes()
        except FileNotFoundError:
            return b""

    def _compile(self, key: str, profile: Mapping[str, Any]) -> bytes:
        program = compile_profile(profile)
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._directory / f"{key}.{os.getpid()}.{id(program):x}"
        temporary.write_bytes(program)
        temporary.replace(self._directory / key)
        return program


def suits(profile: Mapping[str, Any]) -> bool:
    """Is the program for just those architectures that the profile names, and nobody else's part in what it does?"""
    wanted = {f"SCMP_ARCH_{name}" for name in _ARCHITECTURES.get(platform.machine(), ())}
    return set(profile.get("architectures") or ()) == wanted and not profile.get("listenerPath")


def compile_profile(profile: Mapping[str, Any]) -> bytes:
    """See :meth:`Filters.program`."""
    seccomp = _seccomp()
    default = _action(seccomp, profile["defaultAction"], profile.get("defaultErrnoRet"))
    made = seccomp.SyscallFilter(default)
    made.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)  # a binary tree: every call of the container passes through it
    for name in _ARCHITECTURES.get(platform.machine(), ())[1:]:
        made.add_arch(getattr(seccomp.Arch, name))
    for rule in profile.get("syscalls") or ():
        action = _action(seccomp, rule["action"], rule.get("errnoRet"))
        if action == default:
            continue  # libseccomp refuses a rule that says what the default says
        arguments = [_argument(seccomp, each) for each in rule.get("args") or ()]
        for name in rule["names"]:
            _add(seccomp, made, action, name, arguments)
    fd = os.memfd_create("seccomp")
    with os.fdopen(fd, "w+b") as program:
        made.export_bpf(program)
        program.seek(0)
        return program.read()


def _add(seccomp: Any, made: Any, action: int, name: str, arguments: list[Any]) -> None:
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    if number == _UNKNOWN:
        return  # a call that this libseccomp has no number for: the default action stands
    try:
        made.add_rule(action, number, *arguments)
    except (OSError, ValueError, RuntimeError) as error:
        raise Invalid(f"the seccomp rule for {name!r} cannot be compiled: {error}") from error


def _argument(seccomp: Any, arg: Mapping[str, Any]) -> Any:
    operator = getattr(seccomp, _OPERATORS.get(arg["op"], ""), None)
    if operator is None:
        raise Invalid(f"unknown comparison {arg['op']!r} in the seccomp profile; known are {', '.join(_OPERATORS)}")
    return seccomp.Arg(arg["index"], operator, arg["value"], arg.get("valueTwo") or 0)


def _action(seccomp: Any, name: str, errno: int | None) -> int:
    plain = {
        "SCMP_ACT_ALLOW": seccomp.ALLOW,
        "SCMP_ACT_KILL": seccomp.KILL,
        "SCMP_ACT_KILL_THREAD": seccomp.KILL,
        "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS,
        "SCMP_ACT_TRAP": seccomp.TRAP,
        "SCMP_ACT_LOG": seccomp.LOG,
    }
    if name == "SCMP_ACT_ERRNO":
        return int(seccomp.ERRNO(1 if errno is None else errno))
    if name == "SCMP_ACT_TRACE":
        return int(seccomp.TRACE(1 if errno is None else errno))
    if name not in plain:
        raise Invalid(f"unknown action {name!r} in the seccomp profile")
    return int(plain[name])


def _seccomp() -> Any:
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise Unavailable(f"seccomp filters need libseccomp (Debian: apt install libseccomp2): {error}") from error
    return pyseccomp


def _library() -> str:
    return str(getattr(_seccomp(), "__version__", ""))
