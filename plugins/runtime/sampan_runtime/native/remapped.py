"""Containers with a user namespace: what the host's root has to do for one before it becomes nobody in particular.

The user namespace is there already, and owns the network namespace (see OCI's ``linux.namespaces``). All other
namespaces are made from inside it, so that they are its own, too. What only the host's root may do comes first: raise
limits, give away pipes, and make device nodes, which nobody may in a user namespace (user_namespaces(7)).
"""

from __future__ import annotations

import os
import resource
import stat

from sampan.errors import StartFailed
from sampan.linux import cgroups, mounts, namespaces, paths
from sampan.linux.suppress import suppress
from sampan_runtime.native.ready import Ready, filesystem
from sampan_runtime.native.rootfs import LINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan_runtime.native.ready import Wanted

_PLACE = b"/dev"  # a mount point that every host has, wherever the daemon's directories are hidden
_DEV = b"/dev"


def fit(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[Wanted, int] | None:
    """Do it, and change the order where a user namespace does not let it be done. Returns the container's ``/dev``,
    and what of the order it is."""
    mounts.set_attributes(root, propagation=mounts.MS_PRIVATE, recursive=True)
    if not order["flags"] & namespaces.CLONE_NEWCGROUP:
        order["mounts"] = [_bound(each) if each[0] == "cgroup" else each for each in order["mounts"]]
    if order["oom_score_adj"] is not None:
        with suppress(PermissionError):
            cgroups.write("/proc/self/oom_score_adj", str(order["oom_score_adj"]))
    lend(order, stdio)
    return _make_dev(order)


def lend(order: dict[str, Any], stdio: tuple[int, int, int]) -> None:
    """Limits can be raised by nobody in there, and pipes that stay the host's root's could not be opened again."""
    for number, _, hard in order["rlimits"]:
        soft, ceiling = resource.getrlimit(number)
        if ceiling != -1 and (hard == -1 or hard > ceiling):
            with suppress(PermissionError, ValueError):  # what this machine does not grant
                resource.setrlimit(number, (soft, hard))
    owner = _host(order["uids"], order["uid"]), _host(order["gids"], 0)
    for fd in stdio:
        if fd >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, *owner)


def enter(order: dict[str, Any]) -> None:
    """Into the user namespace: all rights in it, and none outside."""
    fd = os.open(order["users"], os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(fd, namespaces.CLONE_NEWUSER)
    os.close(fd)


def become_root() -> None:
    """Its root, whose files are the container's on disk; until now the caller is nobody in it."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def ready(order: dict[str, Any], dev: tuple[Wanted, int] | None) -> Ready:
    """For :func:`rootfs.build`, in the new mount namespace, while it still shows the host's file systems."""
    null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    return Ready(_PLACE, null, detached=dict([dev]) if dev else {})


def _host(ranges: list[tuple[int, int, int]], number: int) -> int:
    for inside, outside, count in ranges:
        if inside <= number < inside + count:
            return outside + number - inside
    raise StartFailed(f"the id {number} has no place in the container's user namespace", 128)


def _bound(wanted: tuple[str, bytes, str, int, int, str]) -> tuple[str, bytes, str, int, int, str]:
    """The host's groups cannot be mounted from in there, only bound, and be looked at."""
    _, target, _, flags, propagation, _ = wanted
    flags |= mounts.MS_BIND | mounts.MS_REC | mounts.MS_RDONLY
    return "bind", target, "/sys/fs/cgroup", flags, propagation, "rro"


def _make_dev(order: dict[str, Any]) -> tuple[Wanted, int] | None:
    wanted = next((each for each in order["mounts"] if each[:2] == ("tmpfs", _DEV)), None)
    if wanted is None:
        order["devices"] = []  # it is somebody's directory: what is in it is there, and nothing more can be made
        return None
    kind, _, source, flags, _, data = wanted
    uid, gid = _host(order["uids"], 0), _host(order["gids"], 0)
    made = filesystem(kind, source, flags, f"{data},uid={uid},gid={gid}")
    for device in order["devices"]:
        _make_node(made, order, *device)
    order["devices"] = []
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=made)
    for target, name in LINKS:
        with suppress(FileExistsError):
            os.symlink(target, name, dir_fd=directory)
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    os.close(directory)
    return wanted, made


def _make_node(dev: int, order: dict[str, Any], path: bytes, mode: int, number: int, uid: int, gid: int) -> None:
    if not path.startswith(_DEV + b"/"):
        reason = "in a user namespace there are devices under /dev only"
        raise StartFailed(f"the device {os.fsdecode(path)} cannot be made: {reason}", 128)
    above, name = os.path.split(path[len(_DEV) :])
    root = _host(order["uids"], 0), _host(order["gids"], 0)
    parent = paths.make_directories(dev, above, uid=root[0], gid=root[1])
    with suppress(FileExistsError):
        os.mknod(name, mode, number, dir_fd=parent)
        os.chown(name, _host(order["uids"], uid), _host(order["gids"], gid), dir_fd=parent, follow_symlinks=False)
        os.chmod(name, mode & 0o7777, dir_fd=parent)  # past the umask
    os.close(parent)
