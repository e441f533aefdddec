"""Capability sets of the calling thread: capabilities(7), capset(2). Sets are bit masks."""

from __future__ import annotations

import ctypes
import errno

from sampan.linux.syscalls import SYS_CAPSET, call, fail, libc, syscall

NAMES = (  # noqa: SIM905 - a list of 41 lines would say no more
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split(" ")
"""In the order of their numbers (linux/capability.h), without ``CAP_``."""

_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_Header, _Data = ctypes.c_uint32 * 2, ctypes.c_uint32 * 6
_PR_CAP_AMBIENT, _RAISE, _CLEAR_ALL = 47, 2, 4


def mask(names: list[str]) -> int:
    """``["CAP_CHOWN", …]`` as a bit mask; names that this table does not know are left out."""
    return sum(1 << NAMES.index(name[4:]) for name in set(names) if name[4:] in NAMES)


def permitted() -> int:
    """The calling thread's permitted set (proc_pid_status(5), ``CapPrm``)."""
    with open("/proc/thread-self/status") as status:  # noqa: PTH123 - pathlib is dear in the launcher
        return int(next(line for line in status if line.startswith("CapPrm")).split()[1], 16)


ALL = (1 << 64) - 1


def limit_bounding(keep: int, among: int = ALL) -> None:
    """Drop from the bounding set all that is not in ``keep``. Needs CAP_SETPCAP.

    ``among`` are those that may be in it still: each takes a system call.
    """
    zero = ctypes.c_ulong(0)
    for number in range(64):
        if keep >> number & 1 or not among >> number & 1:
            continue
        if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero) < 0:
            if ctypes.get_errno() == errno.EINVAL:
                return  # beyond the kernel's last capability
            fail("capability bounding set")


def set_all(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread."""
    header = _Header(_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = _Data(
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
