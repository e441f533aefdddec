"""What an init can have made before anybody knows of its container: namespaces, and the file systems that all have.

Such an init waits, in new mount, UTS, IPC and PID namespaces, on a small root of its own, so that it keeps nothing of
the host's mounts in use. Whatever of the host it will need comes by descriptor, with the order.
"""

from __future__ import annotations

import os

from sampan.linux import mounts, namespaces, paths
from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Key = tuple[str, str, int, str]

NAMESPACES = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWPID
ROOT = b"/root"
"""Where the container's root is attached, on the small root."""

_NULL = "/null"
_SAFE = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_QUIET = mounts.MS_NOSUID | mounts.MS_NOEXEC
DEV = ("tmpfs", "tmpfs", mounts.MS_NOSUID | mounts.MS_STRICTATIME, "mode=755,size=65536k")
STANDARD: tuple[Key, ...] = (
    ("proc", "proc", _SAFE, ""),
    DEV,
    ("devpts", "devpts", _QUIET, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("mqueue", "mqueue", _SAFE, ""),
    ("tmpfs", "shm", _SAFE, "mode=1777,size=67108864"),
)
"""What a container without wishes of its own mounts: type, source, flags and data, as an order has them. An order that
says anything else has it made when it comes. (Not sysfs, which shows the network namespace, nor the cgroups.)"""

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICES = [(b"/dev/" + name.encode(), 0o020666, os.makedev(*numbers), 0, 0) for name, *numbers in _DEVICES]
"""What every OCI runtime supplies (runtime-spec config-linux.md, "Default Devices"), as an order has it."""

LINKS = (
    (b"/proc/self/fd", b"fd"),
    (b"/proc/self/fd/0", b"stdin"),
    (b"/proc/self/fd/1", b"stdout"),
    (b"/proc/self/fd/2", b"stderr"),
    (b"pts/ptmx", b"ptmx"),
)
"""Under ``/dev``."""


class Ready:
    """``mounts``: detached ones by what they are. ``null``: the host's /dev/null. ``place``: where the root goes."""

    def __init__(self, made: dict[Key, int], null: int, place: bytes) -> None:
        self.mounts = made
        self.null = null
        self.place = place


def make() -> Ready:
    """Leave the host's mounts, in a mount namespace that is the caller's own, and make what is standard."""
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    null = mounts.bind("/dev/null")
    made = {}
    for key in STANDARD:
        with suppress(OSError):
            made[key] = filesystem(key)
    if DEV in made:
        _fill(made[DEV])
    _move_house()
    # Only what is attached in this mount namespace can be copied by open_tree(2), before Linux 6.15.
    os.close(os.open(_NULL, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
    mounts.attach(null, _NULL)
    os.close(null)
    return Ready(made, os.open(_NULL, os.O_PATH | os.O_CLOEXEC), ROOT)


def none(order: dict[str, Any]) -> Ready:
    """For an init that could not be made ahead: it is on the host's root, and makes everything itself."""
    return Ready({}, os.open("/dev/null", os.O_PATH | os.O_CLOEXEC), order["rootfs"])


def filesystem(key: Key) -> int:
    """A detached mount of what an order has by that key."""
    kind, source, flags, data = key
    options: dict[str, str | None] = {"source": source}
    for option in filter(None, data.split(",")):
        name, _, value = option.partition("=")
        options[name] = value or None
    return mounts.filesystem(kind, options, attributes=mounts.attributes(flags))


def _fill(dev: int) -> None:
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dev)
    for path, mode, number, _, _ in DEVICES:
        name = path[len(b"/dev/") :]
        os.mknod(name, mode, number, dir_fd=directory)
        os.chmod(name, mode & 0o7777, dir_fd=directory)  # past the umask
    for target, name in LINKS:
        os.symlink(target, name, dir_fd=directory)
    os.close(directory)


def _move_house() -> None:
    small = mounts.filesystem("tmpfs", {"source": "sampan", "mode": "700", "size": "64k"})
    mounts.attach(small, "/proc")
    os.fchdir(small)
    os.close(small)
    mounts.pivot_root(".", ".")
    mounts.detach(".")
    os.chdir("/")
    os.mkdir("/proc")  # noqa: PTH102
    mounts.mount("proc", "/proc", "proc", _SAFE)
    here = os.open("/", paths.DIRECTORY | os.O_CLOEXEC)
    os.close(paths.make_directories(here, ROOT))
    os.close(here)
