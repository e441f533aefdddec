"""Calling the kernel by number and through libc, with errors as ``OSError``."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
holding_gil = ctypes.PyDLL(None, use_errno=True)
"""For calls that return twice: a child made while the interpreter lock was let go could not take it again."""

ARM64 = os.uname().machine == "aarch64"

# Numbers above 423 are the same on every architecture (Linux include/uapi/asm-generic/unistd.h).
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442
SYS_PIVOT_ROOT = 41 if ARM64 else 155
SYS_RT_SIGACTION = 134 if ARM64 else 13
SYS_CAPSET = 91 if ARM64 else 126
SYS_SECCOMP = 277 if ARM64 else 317
SYS_BPF = 280 if ARM64 else 321

_syscall = libc.syscall
_syscall.restype = ctypes.c_long


def syscall(number: int, *args: object, what: str = "") -> int:
    """``syscall(2)``. Integers are passed as 64-bit words. Raises ``OSError``, with ``what`` as its file name."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = _syscall(ctypes.c_long(number), *words)
    if result < 0:
        fail(what)
    return result


def call(name: str, *args: object, what: str = "") -> int:
    """A libc function that returns -1 and sets ``errno``. Raises ``OSError``, with ``what`` as its file name."""
    result: int = getattr(libc, name)(*args)
    if result < 0:
        fail(what or name)
    return result


def fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what)
