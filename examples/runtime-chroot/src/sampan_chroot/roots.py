"""Whose process is it? A container's processes are those whose root directory is on the container's mount.

No process of a container can change its root: it has not got CAP_SYS_CHROOT. Standard library only: this is for the
monitor, too.
"""

from __future__ import annotations

import os
import time

from sampan.linux.suppress import suppress

_PATIENCE = 10.0  # seconds


def identify(path: str | int) -> str:
    """What a directory is: the number of its mount, its device, and its inode."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC) if isinstance(path, str) else os.dup(path)
    try:
        status = os.fstat(fd)
        with open(f"/proc/self/fdinfo/{fd}") as info:  # noqa: PTH123
            mount = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
        return f"{mount} {status.st_dev} {status.st_ino}"
    finally:
        os.close(fd)


def processes(identity: str) -> list[int]:
    """The pids of all that live there; zombies live nowhere. Of the host's own root nobody is told: what follows is
    mostly a signal."""
    found: list[int] = []
    if identity == identify("/"):
        return found
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            with suppress(OSError):
                if identify(f"/proc/{name}/root") == identity:
                    found.append(int(name))
    return sorted(found)


def kill(identity: str) -> None:
    """End them all; those that are born meanwhile, too. Returns when they are gone."""
    deadline = time.monotonic() + _PATIENCE
    while (left := processes(identity)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        time.sleep(0.002)


def read(record: str) -> str:
    """What was written down of a container; "" if nothing was."""
    try:
        with open(record) as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        return ""


def write(record: str, identity: str) -> None:
    os.makedirs(os.path.dirname(record), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
    with open(f"{record}.new", "w") as file:  # noqa: PTH123
        file.write(identity)
    os.replace(f"{record}.new", record)  # noqa: PTH105


def end(record: str) -> None:
    """Of what was written down there, nothing lives on, and the record goes last. May be repeated."""
    identity = read(record)
    if identity:
        kill(identity)
    with suppress(FileNotFoundError):
        os.unlink(record)  # noqa: PTH108
