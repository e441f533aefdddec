"""Loading a compiled seccomp filter: seccomp(2)."""

from __future__ import annotations

import ctypes

from sampan.linux.syscalls import SYS_SECCOMP, syscall

_SET_MODE_FILTER = 1
_INSTRUCTION = 8  # sizeof(struct sock_filter)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(program: bytes) -> None:
    """Put a classic BPF program, an array of ``struct sock_filter``, on the calling thread for good.

    Needs CAP_SYS_ADMIN or no_new_privs.
    """
    syscall(SYS_SECCOMP, _SET_MODE_FILTER, 0, ctypes.byref(_Program(len(program) // _INSTRUCTION, program)))
