"""Capability sets of the calling thread: capabilities(7), capset(2). Sets are bit masks."""

from __future__ import annotations

import ctypes

from sampan.linux.syscalls import SYS_CAPSET, call, libc, syscall

NAMES = (  # noqa: SIM905 - a list of 41 lines would say no more
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split(" ")
"""In the order of their numbers (linux/capability.h), without ``CAP_``."""

_VERSION_3 = 0x20080522
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_CAP_AMBIENT, _RAISE, _CLEAR_ALL = 47, 2, 4


def mask(names: list[str]) -> int:
    """``["CAP_CHOWN", …]`` as a bit mask; names that this table does not know are left out."""
    return sum(1 << NAMES.index(name[4:]) for name in set(names) if name[4:] in NAMES)


def permitted() -> int:
    """The calling thread's permitted set (proc_pid_status(5), ``CapPrm``)."""
    with open("/proc/thread-self/status") as status:  # noqa: PTH123 - pathlib is dear in the launcher
        return int(next(line for line in status if line.startswith("CapPrm")).split()[1], 16)


def limit_bounding(keep: int) -> None:
    """Drop from the bounding set all that is not in ``keep``. Needs CAP_SETPCAP."""
    zero = ctypes.c_ulong(0)
    for number in range(64):
        if keep >> number & 1:
            continue
        found = _prctl(_PR_CAPBSET_READ, number, zero)
        if found < 0:
            return  # beyond the kernel's last capability
        if found:
            call("prctl", _PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero, what="capability bounding set")


def set_all(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = (ctypes.c_uint32 * 6)(
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    syscall(SYS_CAPSET, header, data, what="capset")


def set_ambient(wanted: int) -> None:
    """Clear the ambient set and raise these; each must be permitted and inheritable."""
    zero = ctypes.c_ulong(0)
    call("prctl", _PR_CAP_AMBIENT, ctypes.c_ulong(_CLEAR_ALL), zero, zero, zero, what="ambient capabilities")
    number = 0
    while wanted >> number:
        if wanted >> number & 1:
            call("prctl", _PR_CAP_AMBIENT, ctypes.c_ulong(_RAISE), ctypes.c_ulong(number), zero, zero, what="ambient")
        number += 1


def _prctl(option: int, value: int, zero: ctypes.c_ulong) -> int:
    result: int = libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero)
    return result
