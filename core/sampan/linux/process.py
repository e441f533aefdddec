"""Making and watching processes: clone3(2), pidfds, prctl(2), close_range(2), setrlimit(2)."""

from __future__ import annotations

import ctypes
import os
import time

from sampan.linux.syscalls import SYS_CLONE3, SYS_CLOSE_RANGE, SYS_RT_SIGACTION, call, holding_gil, syscall

CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_ALL = 0xFFFFFFFF
_RLIMIT_NOFILE = 7
_SIGCHLD = 17


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


def clone_args(flags: int, cgroup: int | None = None, *, sibling: bool = True) -> ctypes.Structure:
    """For a child whose parent is the caller's, or the caller itself, born in the version 2 group that the descriptor
    ``cgroup`` is of (clone3(2), ``struct clone_args``)."""
    # With CLONE_PARENT the exit signal is the caller's own.
    args = _CloneArgs(flags=flags | CLONE_PARENT) if sibling else _CloneArgs(flags=flags, exit_signal=_SIGCHLD)
    if cgroup is not None:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup
    return args


_clone3 = holding_gil.syscall
_clone3.restype = ctypes.c_long


def clone(flags: int, *, cgroup: int | None = None) -> int:
    """Fork into new namespaces, with the caller's own parent as the child's: 0 in the child, its pid in the caller.

    Only for a process with a single thread. ``cgroup`` is a descriptor of a cgroup v2 directory in which the child
    is born (clone3(2), CLONE_PARENT and CLONE_INTO_CGROUP). Raises ``OSError``.
    """
    args = clone_args(flags, cgroup)
    pid: int = _clone3(ctypes.c_long(SYS_CLONE3), ctypes.byref(args), ctypes.c_long(ctypes.sizeof(args)))
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "clone3")
    return pid


def prctl(option: int, value: int | bytes = 0) -> None:
    """prctl(2) with one argument; the others are zero, as newer options demand."""
    word = value if isinstance(value, bytes) else ctypes.c_ulong(value)
    zero = ctypes.c_ulong(0)
    call("prctl", ctypes.c_int(option), word, zero, zero, zero, what="prctl")


RESERVED_SIGNALS = (32, 33)
"""The C library keeps these to itself: its functions, and so Python's, refuse them (nptl(7))."""


def default_reserved_signals() -> None:
    """Give the reserved signals their default action. GNU make, among others, starts programs that ignore them."""
    default = bytes(32)  # struct sigaction of the kernel: SIG_DFL, no flags, no restorer, an empty mask
    for number in RESERVED_SIGNALS:
        syscall(SYS_RT_SIGACTION, number, default, 0, 8, what="rt_sigaction")


def close_all_but(*kept: int) -> None:
    """Close every descriptor but 0, 1, 2 and ``kept`` (close_range(2))."""
    first = 3
    for fd in sorted(kept):
        if fd > first:
            syscall(SYS_CLOSE_RANGE, first, fd - 1, 0, what="close_range")
        first = fd + 1
    syscall(SYS_CLOSE_RANGE, first, _ALL, 0, what="close_range")


def limit_files(soft: int, hard: int) -> None:
    """How many files the calling process, and whoever it makes, may open (setrlimit(2), RLIMIT_NOFILE). For those who
    are too small to import ``resource``."""
    call("setrlimit", ctypes.c_int(_RLIMIT_NOFILE), (ctypes.c_ulong * 2)(soft, hard), what="setrlimit")


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks after boot; None if there is none.

    Together with the pid it names a process for good, for pids are used again (proc_pid_stat(5), field 22).
    """
    fields = _fields(pid)
    return int(fields[19]) if fields else None


def parent(pid: int) -> int | None:
    """The pid of a process's parent, 0 if that is in another PID namespace; None if there is no such process."""
    fields = _fields(pid)
    return int(fields[1]) if fields else None


def _fields(pid: int) -> list[bytes]:
    """From the third on, of which the first two could look like more (proc_pid_stat(5))."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return []
    finally:
        os.close(fd)
    return text[text.rindex(b")") + 2 :].split()


marks: list[tuple[str, str, str, int]] = []
"""What :func:`mark` noted: what was done, the kind of thing it was done to, its name, and when."""
reported: list[tuple[str, str, str, int]] = []
"""The marks of the process that this one has made."""


def mark(what: str, kind: str = "", name: str = "") -> None:
    """Note that something has just been done for a container, for ``sampan explain``: it began at the mark before.

    The first says nothing: it is a beginning. Cheap enough for the path of a start, and of no use anywhere else.
    """
    marks.append((what, kind, name, time.monotonic_ns()))


def write_command_line(text: bytes) -> None:
    """Write over the calling process's arguments, as far as there is room (proc_pid_cmdline(5))."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end (proc_pid_stat(5), 48 and 49)
    if start:
        ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)
