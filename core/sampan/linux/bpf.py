"""Loading an eBPF program and attaching it to a version 2 cgroup: bpf(2), and the kernel's Documentation/bpf."""

from __future__ import annotations

import ctypes
import os

from sampan.linux.syscalls import SYS_BPF, syscall

_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE = 15
_CGROUP_DEVICE = 6  # enum bpf_attach_type
_ALLOW_MULTI = 2
_INSTRUCTION = 8  # sizeof(struct bpf_insn)
_LICENSE = b"Apache-2.0"


class _Load(ctypes.Structure):
    """The first fields of ``union bpf_attr`` for BPF_PROG_LOAD; the kernel takes what is not there as zero."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("instructions", ctypes.c_uint32),
        ("program", ctypes.c_char_p),
        ("license", ctypes.c_char_p),
    )


class _Attach(ctypes.Structure):
    """The same for BPF_PROG_ATTACH."""

    _fields_ = (
        ("target", ctypes.c_uint32),
        ("program", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


def load_device_program(program: bytes) -> int:
    """Load an array of ``struct bpf_insn`` that judges the use of devices; the descriptor of the loaded program.

    ``OSError``: EINVAL, the kernel has no such programs or refuses this one; EPERM, it takes CAP_BPF and
    CAP_NET_ADMIN, or CAP_SYS_ADMIN.
    """
    attributes = _Load(_TYPE_CGROUP_DEVICE, len(program) // _INSTRUCTION, program, _LICENSE)
    size = ctypes.sizeof(attributes)
    return syscall(SYS_BPF, _PROG_LOAD, ctypes.byref(attributes), size, what="a program for devices")


def guard_devices(group: int, program: bytes) -> None:
    """Let a program judge each use of a device by the processes of a cgroup, given by its directory's descriptor.

    It goes with the group. Programs of the groups above are asked too, and all have to agree.
    """
    loaded = load_device_program(program)
    try:
        attributes = _Attach(group, loaded, _CGROUP_DEVICE, _ALLOW_MULTI)
        size = ctypes.sizeof(attributes)
        syscall(SYS_BPF, _PROG_ATTACH, ctypes.byref(attributes), size, what="a program for devices")
    finally:
        os.close(loaded)
