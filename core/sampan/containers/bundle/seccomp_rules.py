"""The rules of the default seccomp profile, as data: what Docker's default profile allows (github.com/moby/profiles).

Every system call that no rule names fails with EPERM. Read by :mod:`sampan.containers.bundle.seccomp`.
"""

from __future__ import annotations

from typing import Any

ALWAYS: dict[str, str] = {
    "files and directories": (
        "_llseek access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat "
        "faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 "
        "fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
        "ftruncate64 futimesat getcwd getdents getdents64 inotify_add_watch inotify_init inotify_init1 "
        "inotify_rm_watch ioctl lchown lchown32 link linkat listmount lseek lstat lstat64 mkdir mkdirat mknod "
        "mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 "
        "pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile "
        "sendfile64 splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range "
        "syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice "
        "write writev"
    ),
    "extended attributes": (
        "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr "
        "lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat"
    ),
    "memory": (
        "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall "
        "mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect "
        "process_mrelease remap_file_pages"
    ),
    "sockets": (
        "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
        "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair"
    ),
    "waiting for events, asynchronous input and output": (
        "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
        "epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 "
        "io_setup io_submit poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 "
        "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64"
    ),
    "System V and POSIX messages, semaphores, shared memory": (
        "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
        "mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 "
        "shmat shmctl shmdt shmget"
    ),
    "clocks and timers": (
        "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
        "clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time "
        "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
        "times"
    ),
    "signals and futexes": (
        "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list kill pause pidfd_open "
        "pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
        "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo set_robust_list sigaltstack "
        "sigprocmask sigreturn tgkill tkill"
    ),
    "users and groups": (
        "getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid "
        "getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 "
        "setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32"
    ),
    "scheduling and limits": (
        "getcpu getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_get_priority_max "
        "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
        "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
        "sched_setscheduler sched_yield setpriority setrlimit ugetrlimit"
    ),
    "processes, threads and the system": (
        "capget capset execve execveat exit exit_group fork get_thread_area getpgid getpgrp getpid getppid "
        "getrandom getsid gettid landlock_add_rule landlock_create_ruleset landlock_restrict_self prctl "
        "riscv_hwprobe rseq seccomp set_thread_area set_tid_address setpgid setsid sysinfo uname uretprobe vfork "
        "wait4 waitid waitpid"
    ),
}
"""Allowed to every container, whatever the arguments; by subject, names separated by spaces."""

TRACING = "process_vm_readv process_vm_writev ptrace"
"""Allowed since Linux 4.8, where they no longer get around a filter."""

BY_ARCHITECTURE: dict[str, str] = {
    "amd64": "arch_prctl modify_ldt",
    "arm64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "ppc64le": "swapcontext sync_file_range2",
    "riscv64": "riscv_flush_icache",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}

BY_CAPABILITY: dict[str, str] = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""Allowed only to containers with the capability."""

SOCKET_FAMILIES: tuple[dict[str, Any], ...] = (
    {"index": 0, "value": 38, "op": "SCMP_CMP_LT"},
    {"index": 0, "value": 39, "op": "SCMP_CMP_EQ"},
    {"index": 0, "value": 40, "op": "SCMP_CMP_GT"},
)
"""socket(2) with every family but AF_ALG (38) and AF_VSOCK (40): one rule each."""

PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""personality(2): Linux, Linux 32 bit, each with UNAME26, and "tell me"."""

NAMESPACE_FLAGS = 0x7E020000
"""The CLONE_NEW* flags of clone(2), which a container without CAP_SYS_ADMIN may not use; clone3(2), whose flags a
filter cannot see, then does not exist (ENOSYS), so that the C library falls back to clone."""

COMPATIBLE: dict[str, tuple[str, ...]] = {
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
}
"""The system call tables that a kernel of this architecture serves, the native one first."""
