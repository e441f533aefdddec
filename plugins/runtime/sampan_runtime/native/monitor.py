"""The native runtime's half in the monitor (see ``sampan.drivers.runtime``): imports next to nothing."""

from __future__ import annotations

import os

from sampan.errors import StartFailed
from sampan.linux import bpf, cgroups, messages, namespaces, process
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import libc
from sampan_runtime.native import init
from sampan_runtime.native import ready as ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_MOST = 200


def prepare() -> None:
    for name in ("mount", "umount2", "setns", "unshare", "prctl", "sethostname", "setdomainname", "syscall"):
        getattr(libc, name)  # the first use of a C function after a fork would cost half a millisecond


def ready() -> tuple[int, Any]:
    """An init without a container, as a child of the monitor's: its pid, and the link over which it gets its order."""
    ours, theirs = messages.pair()
    pid = process.clone(ahead.NAMESPACES)
    if pid == 0:
        ours.close()
        init.run_ready(theirs)
    theirs.close()
    _rehearse()
    return pid, ours


def _rehearse() -> None:
    """Touch now what a start will touch: a page that is written to for the first time since the fork is copied."""
    nothing = {"mounts": [], "joins": [], "tasks": [], "terminal": True}
    init.Things.gather(messages.loads(messages.dumps(nothing)), -1, (-1, -1, -1)).pack()
    cgroups.make("/")
    cgroups.write("/dev/null", "0")


def start(
    order: dict[str, Any], root: int, stdio: tuple[int, int, int], made: tuple[int, Any] | None = None
) -> tuple[int, int]:
    try:
        born_in = _make_cgroups(order)
        process.mark("make its groups and set their limits", "cgroup", " ".join(order["cgroups"]))
        if order["users"]:
            if made:
                made[1].close()
            return _start_remapped(order, root, stdio, born_in)
        things = init.Things.gather(order, root, stdio)
        process.mark("pick up what it gets of the host", "descriptors", f"{len(things.trees)} trees to bind")
        if made and _suits(order):
            shape, fds = things.pack()
            messages.send(made[1], (order, shape), fds)
            return _await_execve(*made)
        if made:
            made[1].close()
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


def _suits(order: dict[str, Any]) -> bool:
    """An init made ahead has its namespaces already, and only clone3(2) puts one into a version 2 group for nothing."""
    joins = [flag for flag, _ in order["joins"]]
    made = order["flags"] & ~(namespaces.CLONE_NEWCGROUP | namespaces.CLONE_NEWNET)
    if made != ahead.NAMESPACES or namespaces.CLONE_NEWPID in joins or order["v2"]:
        return False
    return _few(order) and not _replaces(order)


def _few(order: dict[str, Any]) -> bool:
    """As many descriptors as fit into a message (unix(7), SCM_MAX_FD)."""
    return len(order["mounts"]) + len(order["joins"]) + len(order["tasks"]) < _MOST


def _replaces(order: dict[str, Any]) -> bool:
    """Is another device wanted where a standard one has been made?"""
    standard = {each[0]: each[2] for each in ahead.DEVICES}
    return any(standard.get(path, number) != number for path, _, number, _, _ in order["devices"])


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int]:
    target = os.pidfd_open(order["pid"])
    if process.start_time(order["pid"]) != order["start_time"]:
        raise StartFailed("the container has ended", 128)
    if order["flags"] & namespaces.CLONE_NEWPID:
        namespaces.setns(target, namespaces.CLONE_NEWPID)
    born_in = os.open(order["v2"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if order["v2"] else None
    return _clone(0, born_in, init.run_exec, order, target, stdio)


def ended(order: dict[str, Any]) -> bool:
    path = order["oom"]
    try:
        lines = cgroups.read(path).splitlines() if path else []
    except OSError:
        return False
    return any(line.split()[0] == "oom_kill" and line.split()[1] != "0" for line in lines)


def finish(order: dict[str, Any]) -> None:
    kill_all(order["cgroups"])
    for directory in order["cgroups"]:
        with suppress(OSError):
            cgroups.remove(directory)


def kill_all(groups: list[str]) -> None:
    """Kill what the init has left in its groups; there is nothing when it had a PID namespace of its own."""
    for directory in groups:
        for pid in cgroups.processes(directory):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


def _make_cgroups(order: dict[str, Any]) -> int | None:
    for directory in order["cgroups"]:
        cgroups.make(directory)
    if order["v2_root"]:
        cgroups.delegate(order["v2_root"], os.path.dirname(order["v2"]))  # noqa: PTH120
    for path, value in order["limits"]:
        try:
            cgroups.write(path, value)
        except OSError as error:
            reason = f"the kernel refused {value!r} for {os.path.basename(path)}: {error.strerror}"  # noqa: PTH119
            raise StartFailed(reason, 128) from None
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
