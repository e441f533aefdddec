"""Which capabilities a container gets: Docker's default set, what was added, what was dropped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from sampan.errors import Invalid
from sampan.linux.capabilities import NAMES

_DEFAULT = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
"""
DEFAULT = tuple("CAP_" + name for name in _DEFAULT.split())
"""What Docker gives to a container that asks for nothing."""


@functools.cache
def known() -> tuple[str, ...]:
    """All capabilities of the running kernel (proc_sys_kernel(5), ``cap_last_cap``)."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return tuple("CAP_" + name for name in NAMES[: last + 1])


def normalise(names: Sequence[str] | None, key: str) -> list[str]:
    """``["sys_admin", "all"]`` as ``["CAP_SYS_ADMIN", "ALL"]``. Raises ``Invalid`` for a name nobody knows."""
    result = []
    for name in names or ():
        full = name.strip().upper()
        if full != "ALL":
            full = "CAP_" + full.removeprefix("CAP_")
            if full not in known():
                raise Invalid(f'invalid {key}: unknown capability: "{full}"')
        result.append(full)
    return result


def chosen(add: Sequence[str] | None, drop: Sequence[str] | None, *, privileged: bool) -> list[str]:
    """The container's capabilities, by Docker's rules: ALL in ``add`` or ``drop`` first, then the single ones."""
    if privileged:
        return list(known())
    added, dropped = normalise(add, "CapAdd"), normalise(drop, "CapDrop")
    if "ALL" in added:
        return [name for name in known() if name not in dropped]
    start = [] if "ALL" in dropped else [name for name in DEFAULT if name not in dropped]
    return list(dict.fromkeys([*start, *(name for name in added if name != "ALL")]))
