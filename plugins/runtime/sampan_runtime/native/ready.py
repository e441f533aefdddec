"""What an init can have made before anybody knows of its container: what a container without wishes of its own has.

Such an init is in cgroups and in mount, UTS, IPC, PID and cgroup namespaces of its own. It waits on a small root, so
that it keeps nothing of the host's mounts in use, with a *frame* on it: the file systems of a container whose root
has yet to come, each in its place under one directory. Whatever of the host it will need comes by descriptor.
"""

from __future__ import annotations

import os

from sampan.linux import cgroups, mounts, namespaces, paths
from sampan_runtime.native import rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Wanted = tuple[str, bytes, str, int, int, str]

NAMESPACES = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWPID
ROOT = b"/root"
"""Where the container's root is attached, on the small root."""
FRAME = "/frame"

_NULL = "/null"
_SAFE = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_KINDS = ("proc", "tmpfs", "devpts", "mqueue", "cgroup")
_DEV = b"/dev"
_PROC = b"/proc"


class Ready:
    """``place``: where the root goes. ``null``: the host's /dev/null. ``own``: the small root, with a /proc that is not
    the container's, or -1. ``usual``: the order that the frame was made for, or None without a frame. ``detached``:
    mounts that were made without one."""

    def __init__(
        self,
        place: bytes,
        null: int,
        *,
        own: int = -1,
        usual: dict[str, Any] | None = None,
        detached: dict[Wanted, int] | None = None,
    ) -> None:
        self.place = place
        self.null = null
        self.own = own
        self._detached = detached or {}
        self._usual = usual
        self._framed = [each for each in usual["mounts"] if _can_be_made(each)] if usual else []

    def settle(self, order: dict[str, Any]) -> None:
        """Take away what this order does not want as it was made."""
        if not self._usual:
            return
        asked = order["mounts"]
        away = [each for each in self._framed if each not in asked]
        if covered(order) != covered(self._usual):
            away += [each for each in self._framed if each[1] == _PROC and each not in away]
        if not set(self._usual["devices"]) <= set(order["devices"]):
            away += [each for each in self._framed if each[1] == _DEV and each not in away]
        for each in reversed(away):
            self._take_away(each)

    def has(self, wanted: Wanted) -> bool:
        return wanted in self._framed or wanted in self._detached

    def attach(self, root: int, wanted: Wanted) -> None:
        """Put it into its place on the container's root, if it does not come with another one."""
        if self._above(wanted):
            return
        source = self._detached.get(wanted, -1)
        if source < 0:
            source = os.open(_in_frame(wanted), os.O_PATH | os.O_CLOEXEC)
        place = paths.make_directories(root, wanted[1])
        mounts.attach(source, place)
        os.close(place)
        os.close(source)

    def devices(self) -> Sequence[Any]:
        """Those that are made."""
        return self._usual["devices"] if self._usual and any(each[1] == _DEV for each in self._framed) else ()

    def covers(self, path: bytes) -> bool:
        """Is it masked or protected, if it is to be?"""
        return path.startswith(_PROC + b"/") and any(each[1] == _PROC for each in self._framed)

    def _take_away(self, unwanted: Wanted) -> None:
        for each in [each for each in self._framed if each[1].startswith(unwanted[1] + b"/")]:
            self._framed.remove(each)  # it goes with what it is mounted on
        if unwanted in self._framed:
            self._framed.remove(unwanted)
            mounts.detach(_in_frame(unwanted))

    def _above(self, wanted: Wanted) -> bool:
        return any(wanted[1].startswith(each[1] + b"/") for each in self._framed)


def _can_be_made(wanted: Wanted) -> bool:
    """Not what is bound, which is the container's own, nor sysfs, which shows its network namespace."""
    return wanted[0] in _KINDS


def _in_frame(wanted: Wanted) -> str:
    return FRAME + os.fsdecode(wanted[1])


def covered(order: dict[str, Any]) -> tuple[list[bytes], list[bytes]]:
    """What of the kernel's own ``/proc`` is to be masked, and to be read-only."""
    masked, protected = order["masked"], order["read_only_paths"]
    return [path for path in masked if path.startswith(_PROC)], [path for path in protected if path.startswith(_PROC)]


def make(usual: dict[str, Any]) -> Ready:
    """Leave the host's mounts, in a mount namespace that is the caller's own, and make what ``usual`` asks for."""
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    null = mounts.bind("/dev/null")
    _move_house()
    # Only what is attached in this mount namespace can be copied by open_tree(2), before Linux 6.15.
    os.close(os.open(_NULL, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
    mounts.attach(null, _NULL)
    os.close(null)
    own = os.open("/", paths.DIRECTORY | os.O_CLOEXEC)
    made = Ready(ROOT, os.open(_NULL, os.O_PATH | os.O_CLOEXEC), own=own, usual=usual)
    frame = os.open(FRAME, paths.DIRECTORY | os.O_CLOEXEC)
    rootfs.mount_all(frame, [each for each in usual["mounts"] if _can_be_made(each)], usual["hierarchies"])
    rootfs.make_devices(frame, usual["devices"])
    masked, protected = covered(usual)
    rootfs.protect(frame, protected)
    rootfs.mask(frame, masked, made.null)
    os.close(frame)
    return made


def join(groups: Sequence[str]) -> None:
    """Enter version 1 groups, and make them the roots of what will be seen of the hierarchies."""
    for group in groups:
        cgroups.write(f"{group}/tasks", "0")
    namespaces.unshare(namespaces.CLONE_NEWCGROUP)


def none(order: dict[str, Any]) -> Ready:
    """For an init that could not be made ahead: it is on the host's root, and makes everything itself."""
    return Ready(order["rootfs"], os.open("/dev/null", os.O_PATH | os.O_CLOEXEC))


def filesystem(kind: str, source: str, flags: int, data: str) -> int:
    """A detached mount of what an order mounts."""
    options: dict[str, str | None] = {"source": source}
    for option in filter(None, data.split(",")):
        name, _, value = option.partition("=")
        options[name] = value or None
    return mounts.filesystem(kind, options, attributes=mounts.attributes(flags))


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
    for place in (os.fsdecode(ROOT), FRAME):
        os.mkdir(place, 0o755)  # noqa: PTH102
