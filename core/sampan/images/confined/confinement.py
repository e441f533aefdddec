"""Giving up everything that unpacking does not need: namespaces(7), capabilities(7), seccomp(2), setrlimit(2)."""

from __future__ import annotations

import os
import resource
import struct

from sampan.linux import capabilities, mounts, namespaces, process, seccomp
from sampan.linux.syscalls import ARM64

MEMORY = 1 << 30  # bytes of address space: more than any decompressor needs for what images are packed with
DESCRIPTORS = 512
_APART = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWCGROUP
)
_KEPT = [f"CAP_{each}" for each in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")]
"""Owners, modes, device nodes and file capabilities are content of images. The attribute that makes a directory opaque
needs CAP_SYS_ADMIN, with which one could do anything: the daemon sets it."""

_ATTRIBUTES = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC

# Numbers on x86-64 and on arm64; None where it does not exist. The same on both from 424 on.
_NEVER: list[tuple[int | None, int | None]] = [
    *((59, 221), (322, 281)),  # execve execveat
    *((101, 117), (310, 270), (311, 271), (312, 272)),  # ptrace process_vm_readv process_vm_writev kcmp
    *((41, 198), (53, 199), (49, 203)),  # socket socketpair connect
    *((272, 97), (308, 268), (161, 51), (135, 92)),  # unshare setns chroot personality
    *((165, 40), (166, 39), (155, 41)),  # mount umount2 pivot_root
    *((number, number) for number in (428, 429, 430, 431, 432, 433, 442)),  # open_tree … fspick mount_setattr
    *((321, 280), (298, 241), (323, 282)),  # bpf perf_event_open userfaultfd
    *((number, number) for number in (425, 426, 427)),  # io_uring_*
    *((248, 217), (249, 218), (250, 219)),  # add_key request_key keyctl
    *((175, 105), (313, 273), (176, 106), (246, 104), (320, 294)),  # modules, kexec
    *((304, 265), (303, 264)),  # open_by_handle_at name_to_handle_at
    *((438, 438), (103, 116), (167, 224), (168, 225), (169, 142), (163, 89)),  # pidfd_getfd syslog swap reboot acct
    *((172, None), (173, None)),  # iopl ioperm
    *((206, 0), (216, 234)),  # io_setup remap_file_pages
]
_NOT_IN_CHILDREN: list[tuple[int | None, int | None]] = [
    *((56, 220), (57, None), (58, None), (435, 435)),  # clone fork vfork clone3
    *((62, 129), (200, 130), (434, 434), (424, 424)),  # kill tkill pidfd_open pidfd_send_signal
    *((129, 138), (297, 240)),  # rt_sigqueueinfo rt_tgsigqueueinfo
]
_ARCHITECTURE = 0xC00000B7 if ARM64 else 0xC000003E
_X32 = 0x40000000
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # _REFUSE with EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_INSTRUCTION = struct.Struct("HBBI")


def go_apart() -> None:
    """Into namespaces of our own, with a root that has nothing in it but ``/proc``.

    The caller goes on as the first process of a PID namespace; what was called stays behind to wait for it.
    """
    namespaces.unshare(_APART)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    process.prctl(process.PR_SET_PDEATHSIG, 9)
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    root = mounts.filesystem("tmpfs", {"mode": "0755", "size": "64k"}, attributes=_ATTRIBUTES)
    mounts.attach(root, "/proc")
    os.fchdir(root)
    os.mkdir("proc", 0o555)  # noqa: PTH102
    proc = mounts.filesystem("proc", {"subset": "pid"}, attributes=_ATTRIBUTES)
    mounts.attach(proc, "proc")
    mounts.set_attributes(root, mounts.MOUNT_ATTR_RDONLY)
    mounts.pivot_root(".", ".")
    mounts.detach(".")
    os.chdir("/")
    os.close(root)
    os.close(proc)


def give_up() -> None:
    """Every right that unpacking does not need, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    keep = capabilities.mask(_KEPT)
    capabilities.limit_bounding(keep)
    capabilities.set_all(keep, keep, 0)
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    process.prctl(process.PR_SET_DUMPABLE, 0)  # nor may one of them look into another
    seccomp.load(_filter(_NEVER))


def give_up_more(largest_file: int) -> None:
    """What only the mother of such processes needs."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if os.geteuid() == 0:
        seccomp.load(_filter(_NOT_IN_CHILDREN))


def _filter(refused: list[tuple[int | None, int | None]]) -> bytes:
    """A classic BPF program that refuses these calls, and all of other architectures (seccomp(2))."""
    numbers = [number for number in (each[ARM64] for each in refused) if number is not None]
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURE),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, len(numbers) + 1, 0, _X32),
        *((_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(_INSTRUCTION.pack(*each) for each in program)
