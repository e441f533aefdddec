"""The native runtime's half in the monitor (see ``sampan.drivers.runtime``): imports next to nothing."""

from __future__ import annotations

import os

from sampan.errors import StartFailed
from sampan.linux import bpf, cgroups, messages, namespaces, process
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import libc
from sampan_runtime import steps
from sampan_runtime.native import init, spawning
from sampan_runtime.native.standby import Standby, set_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def prepare() -> None:
    for name in ("mount", "umount2", "setns", "unshare", "prctl", "sethostname", "setdomainname", "syscall"):
        getattr(libc, name)  # the first use of a C function after a fork would cost half a millisecond
    steps.prepare()


def ready(usual: dict[str, Any], slot: str) -> Standby | None:
    """An init without a container, as a child of the monitor's; not where groups are of version 2."""
    if not usual or usual["v2"]:
        return None
    made = Standby(usual, slot)
    _rehearse(usual, made)
    return made if made.is_ready() else None


def _rehearse(usual: dict[str, Any], made: Standby) -> None:
    """Touch now what a start will touch: a page that is written to for the first time since the fork is copied."""
    fd = messages.keep(usual)
    order = messages.kept(fd)
    os.close(fd)
    made.suits(order)
    init.Things.gather({**order, "mounts": [], "tasks": [], "terminal": True}, -1, (-1, -1, -1)).pack()


def start(
    order: dict[str, Any],
    root: int,
    stdio: tuple[int, int, int],
    made: Standby | None = None,
    kept: int = -1,
) -> tuple[int, int]:
    if made and made.suits(order):
        try:
            return _start_ready(order, root, stdio, made, kept)
        except BrokenPipeError:  # somebody killed it
            made = None
    if made:
        made.close()
    return _start_new(order, root, stdio)


def _start_ready(
    order: dict[str, Any], root: int, stdio: tuple[int, int, int], made: Standby, kept: int
) -> tuple[int, int]:
    try:
        things = init.Things.gather({**order, "tasks": []}, root, stdio)
        process.mark("pick up what it gets of the host", "descriptors", f"{len(things.trees)} trees to bind")
        return _await_execve(made.pid, made.take(order, kept, things))
    except BaseException:
        made.close()
        finish(order)
        raise


def _start_new(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[int, int]:
    try:
        born_in = _make_cgroups(order)
        process.mark("make its groups and set their limits", "cgroup", " ".join(order["cgroups"]))
        if order["users"]:
            return _start_remapped(order, root, stdio, born_in)
        things = init.Things.gather(order, root, stdio)
        process.mark("pick up what it gets of the host", "descriptors", f"{len(things.trees)} trees to bind")
        return _clone(_flags(order), born_in, init.run_init, order, things)
    except BaseException:
        finish(order)
        raise


def _start_remapped(
    order: dict[str, Any], root: int, stdio: tuple[int, int, int], born_in: int | None
) -> tuple[int, int]:
    from sampan_runtime.native import remapped  # late: every monitor would keep it in memory

    dev = remapped.fit(order, root, stdio)
    things = init.Things.gather(order, root, stdio)
    process.mark("pick up what it gets of the host", "descriptors", f"{len(things.trees)} trees to bind")
    flags = _flags(order)
    remapped.enter(order)
    process.mark("enter its user namespace", "userns", os.fsdecode(order["users"]))
    return _clone(flags, born_in, init.run_remapped, order, things, dev)


def _flags(order: dict[str, Any]) -> int:
    """For the clone; joins the PID namespace, if one is to be joined, for that holds for children."""
    for flag, path in order["joins"]:
        if flag == namespaces.CLONE_NEWPID:
            _join(path, flag)
    # The cgroup namespace is made by the init itself, when it is where its root shall be.
    return int(order["flags"]) & ~namespaces.CLONE_NEWCGROUP


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int]:
    target = os.pidfd_open(order["pid"])
    if process.start_time(order["pid"]) != order["start_time"]:
        raise StartFailed("the container has ended", 128)
    born_in = os.open(order["v2"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if order["v2"] else None
    if order["flags"] & namespaces.CLONE_NEWUSER:
        namespaces.setns(target, order["flags"] & namespaces.CLONE_NEWPID)
        return _clone(0, born_in, init.run_remapped_exec, order, target, stdio)
    tasks = init.go_ahead(order, target)
    pid, terminal = spawning.spawn(order, tasks, stdio, born_in)
    return (pid, terminal) if pid else _clone(0, born_in, init.run_exec, order, tasks, stdio)


def warm() -> None:
    """In a starter that waits for an exec: touch what it will touch, with an order of the usual size."""
    order: dict[str, Any] = {"tasks": [], "oom_score_adj": None, "flags": namespaces.CLONE_NEWUTS}
    order.update(args=[b"true"], env={b"HOME": b"/", b"PATH": init.DEFAULT_PATH}, cwd=b"/", umask=0o022, rlimits=[])
    order.update(uid=0, gid=0, groups=[0], seccomp=b"", no_new_privileges=False, terminal=False)
    order["capabilities"] = dict.fromkeys(("effective", "permitted", "inheritable", "ambient"), 0)
    order["words"] = [os.urandom(12).hex() for _ in range(60)]
    fd = messages.keep(order)
    messages.kept(fd)
    os.close(fd)
    ours, theirs = messages.pair()
    messages.send(theirs, ("alive", []))
    theirs.close()
    messages.receive(ours)
    ours.close()
    process.start_time(os.getpid())
    init.warm(order)
    spawning.warm(order)


def ended(order: dict[str, Any]) -> bool:
    return cgroups.starved(order["oom"])


def finish(order: dict[str, Any]) -> None:
    left = [group for group in order["cgroups"] if not cgroups.remove_empty(group)]
    # There are processes left only where the init had no PID namespace of its own.
    for group in left:
        for pid in cgroups.processes(group):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
    for group in left:
        with suppress(OSError):
            cgroups.remove(group)


def _make_cgroups(order: dict[str, Any]) -> int | None:
    for directory in order["cgroups"]:
        cgroups.make(directory)
    if order["v2_root"]:
        cgroups.delegate(order["v2_root"], os.path.dirname(order["v2"]))  # noqa: PTH120
    set_limits(order["limits"])
    return _open_unified(order)


def _open_unified(order: dict[str, Any]) -> int | None:
    """The version 2 group that the init is born in, with the rules for devices in force."""
    if not order["v2"]:
        return None
    group = os.open(order["v2"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if order["device_program"]:
        try:
            bpf.guard_devices(group, order["device_program"])
        except OSError as error:
            raise StartFailed(f"the kernel refused the rules for devices: {error.strerror}", 128) from None
    return group


def _join(path: bytes, flag: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(fd, flag)
    os.close(fd)


def _clone(flags: int, born_in: int | None, run: Any, order: dict[str, Any], *args: Any) -> tuple[int, int]:
    """Make the process, as a child of the monitor's, and wait for its execve; its pid and terminal."""
    ours, theirs = messages.pair()
    pid = process.clone(flags, cgroup=born_in)
    if pid == 0:
        run(order, *args, theirs)
    theirs.close()
    return _await_execve(pid, ours)


def _await_execve(pid: int, link: Any) -> tuple[int, int]:
    terminal = -1
    while True:
        message, fds = messages.receive(link)
        if message is None:  # closed by execve: the program runs
            process.mark("execute the program", "process", str(pid))
            return pid, terminal
        if message[0] == "terminal":
            terminal = fds[0]
        elif message[0] == "failed":
            raise StartFailed(message[2], message[1])
        elif message[0] == "alive":
            process.reported[:] = message[1]
            process.mark("")
