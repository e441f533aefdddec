"""The files of cgroups, version 1, version 2 and both at once (hybrid): cgroups(7).

A *group* is named by one relative path that is used in every hierarchy. No policy: who limits what is the callers'.
"""

from __future__ import annotations

import os
import time

from sampan.linux.suppress import suppress

V2 = ""
"""The key of the version 2 hierarchy among the controllers."""

_ROOT = "/sys/fs/cgroup"


def hierarchies(mountinfo: str = "/proc/self/mountinfo") -> dict[str, str]:
    """Where each hierarchy is mounted: controller or ``name=…`` → directory, and ``V2`` → the unified one.

    A version 1 hierarchy with several controllers appears under each of them (proc_pid_mountinfo(5)).
    """
    found: dict[str, str] = {}
    with open(mountinfo) as lines:  # noqa: PTH123 - pathlib is dear in the launcher
        for line in lines:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            where = before.split()[4]
            if not where.startswith(_ROOT):
                continue
            if kind == "cgroup2":
                found[V2] = where
            elif kind == "cgroup":
                for option in options.split(","):
                    if option.startswith("name=") or option in _CONTROLLERS:
                        found[option] = where
    return found


_CONTROLLERS = {
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
}


def own(hierarchies: dict[str, str], cgroup: str = "/proc/self/cgroup") -> dict[str, str]:
    """The group of this process in each hierarchy: where that is mounted → the group's path in it (cgroups(7))."""
    found: dict[str, str] = {}
    with open(cgroup) as lines:  # noqa: PTH123
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for name in controllers.split(",") if controllers else [V2]:
                if name in hierarchies:
                    found[hierarchies[name]] = path
    return found


def make(directory: str) -> None:
    """Make a group's directory and those above it; a version 1 cpuset starts with its parent's processors.

    cpuset(7): no task may join a cpuset whose cpus or mems are empty.
    """
    while True:
        try:
            os.mkdir(directory)  # noqa: PTH102
            _fill(directory)
        except FileNotFoundError:  # whoever ends the last container removes the group above, even one just made
            make(os.path.dirname(directory))  # noqa: PTH120
        except FileExistsError:
            return
        else:
            return


def _fill(directory: str) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        if os.access(f"{directory}/cgroup.clone_children", os.F_OK) and os.access(f"{directory}/{name}", os.F_OK):
            _inherit(directory, name)


def _inherit(directory: str, name: str) -> str:
    """Another process may just have made the group above and not have come to filling it: then we do."""
    value = read(f"{directory}/{name}").strip()
    if not value:
        value = _inherit(os.path.dirname(directory), name)  # noqa: PTH120
        write(f"{directory}/{name}", value)
    return value


def delegate(root: str, directory: str) -> None:
    """Hand the controllers of a version 2 hierarchy down from ``root`` to the groups in ``directory``.

    A controller works in a group only if every group above lists it in ``cgroup.subtree_control`` (cgroups(7)).
    """
    path = root
    for part in ["", *os.path.relpath(directory, root).split("/")]:
        path = f"{path}/{part}" if part else path
        with suppress(FileNotFoundError):
            available = set(read(f"{path}/cgroup.controllers").split())
            missing = available - set(read(f"{path}/cgroup.subtree_control").split())
            for controller in sorted(missing):
                with suppress(OSError):  # one that is in use elsewhere does not stop the others
                    write(f"{path}/cgroup.subtree_control", f"+{controller}")


def write(path: str, value: str) -> None:
    """Write a value to a control file. ``OSError`` has the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def read(path: str) -> str:
    """Read a control file. ``FileNotFoundError`` if the kernel or the group has none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def starved(path: str | None) -> bool:
    """Has the kernel killed for want of memory in the group with this ``memory.oom_control`` or ``memory.events``?

    False without one, and when the group is gone.
    """
    try:
        lines = read(path).splitlines() if path else []
    except OSError:
        return False
    return any(line.split()[0] == "oom_kill" and line.split()[1] != "0" for line in lines)


def processes(directory: str) -> list[int]:
    """The pids in a group and the groups below it; empty if there is no such group."""
    found = []
    for path, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            with suppress(OSError):
                found += [int(word) for word in read(f"{path}/cgroup.procs").split()]
    return found


def remove_empty(directory: str) -> bool:
    """Remove a group that has nothing in it. Is it gone?"""
    try:
        os.rmdir(directory)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove(directory: str, *, patience: float = 5.0) -> None:
    """Remove a group and those below it. Absent is fine.

    Processes that have just died may still be in it for a moment (rmdir gives EBUSY until they were reaped), so it
    is tried again for ``patience`` seconds.
    """
    if remove_empty(directory):
        return
    until = time.monotonic() + patience
    pause = 0.001
    for path, _, _ in os.walk(directory, topdown=False):
        while True:
            try:
                os.rmdir(path)  # noqa: PTH106
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, 0.1)
            else:
                break
