"""Mounts as descriptors: open_tree(2), fsopen(2), fsmount(2), move_mount(2), mount_setattr(2), and mount(2) itself.

A *detached* mount is visible to nobody; it lives as long as its descriptor, or until it has been attached somewhere
and was unmounted there. All descriptors are close-on-exec.
"""

from __future__ import annotations

import ctypes
import errno
import os

from sampan.linux.namespaces import CLONE_NEWNS, unshare
from sampan.linux.syscalls import (
    SYS_FSCONFIG,
    SYS_FSMOUNT,
    SYS_FSOPEN,
    SYS_MOUNT_SETATTR,
    SYS_MOVE_MOUNT,
    SYS_OPEN_TREE,
    SYS_PIVOT_ROOT,
    call,
    syscall,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    _Made = TypeVar("_Made")

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME = 0x20, 0x400, 0x800
MS_BIND, MS_REC = 0x1000, 0x4000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME = 1 << 21, 1 << 24
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0x10, 0x20

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_CLOEXEC = os.O_CLOEXEC
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40

_layers_are_a_page = False
_PAGE = 4096  # mount(2) copies at most a page of options


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def attributes(flags: int) -> int:
    """mount(2)'s flags as mount_setattr(2)'s attributes; the first four are the same bits."""
    made = flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if flags & MS_STRICTATIME:
        made |= MOUNT_ATTR_STRICTATIME
    if flags & MS_NOATIME:
        made |= MOUNT_ATTR_NOATIME
    return made


def bind(source: Path | str | int, *, recursive: bool = False, read_only: bool = False) -> int:
    """A detached copy of the mount at ``source`` (a path, or a descriptor of one), like ``mount --bind``."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    if isinstance(source, int):
        fd = syscall(SYS_OPEN_TREE, source, b"", flags | _AT_EMPTY_PATH, what="open_tree")
    else:
        fd = syscall(SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags, what=os.fspath(source))
    if read_only:
        try:
            set_attributes(fd, MOUNT_ATTR_RDONLY, recursive=recursive)
        except OSError:
            os.close(fd)
            raise
    return fd


def filesystem(kind: str, options: Mapping[str, str | None] | None = None, *, attributes: int = 0) -> int:
    """A detached mount of a new file system; an option whose value is None is a flag. ``OSError`` names the option."""
    context = _configure(kind, list((options or {}).items()))
    try:
        return syscall(SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes, what=kind)
    finally:
        os.close(context)


def overlay(
    lower: Sequence[Path | str],
    upper: Path | str | None = None,
    work: Path | str | None = None,
    options: Mapping[str, str | None] | None = None,
) -> int:
    """A detached overlayfs mount; ``lower`` begins with the topmost layer. Any number of layers that the kernel takes.

    From Linux 6.5 on, each layer is an option of its own. Older kernels want them all in one page of text
    (mount(2)): there the mount is made in a thread with a mount namespace and a working directory of its own, so
    that names can be short and nothing is left if the process dies between mounting and cloning.
    """
    global _layers_are_a_page
    named = [(key, os.fspath(path)) for key, path in (("upperdir", upper), ("workdir", work)) if path is not None]
    rest = list((options or {}).items())
    if _layers_are_a_page:
        return _overlay_by_page([os.fspath(path) for path in lower], dict(named), rest)
    try:
        context = _configure("overlay", [("lowerdir+", os.fspath(path)) for path in lower] + named + rest)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # An older kernel takes any option at first, and says in the end that it does not know one, not which.
        made = _overlay_by_page([os.fspath(path) for path in lower], dict(named), rest)
        _layers_are_a_page = True  # asked once, for it puts each refusal into the kernel's log
        return made
    try:
        return syscall(SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0, what="overlay")
    finally:
        os.close(context)


def copies(fd: int) -> tuple[int, int]:
    """A detached mount twice. ``fd`` is used up: what takes its place comes first, a copy second.

    Before Linux 6.15, only what is attached somewhere can be copied. There it is done in a namespace of a thread's own.
    """
    try:
        return fd, bind(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise

    def attached() -> tuple[int, int]:
        attach(fd, "/proc")
        return bind("/proc"), bind("/proc")

    try:
        return _in_own_namespace(attached, "a copy of a mount")
    finally:
        os.close(fd)


def attach(fd: int, target: Path | str | int) -> None:
    """Put the mount of ``fd`` in place; ``target`` is a path or an O_PATH descriptor (move_mount(2))."""
    if isinstance(target, int):
        flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
        syscall(SYS_MOVE_MOUNT, fd, b"", target, b"", flags, what="move_mount")
        return
    name = os.fsencode(target)
    syscall(SYS_MOVE_MOUNT, fd, b"", _AT_FDCWD, name, _MOVE_MOUNT_F_EMPTY_PATH, what=os.fspath(target))


def detach(target: Path | str) -> None:
    """Take a mount out of sight now; the kernel ends it when nobody uses it any more (umount2(2), MNT_DETACH)."""
    call("umount2", os.fsencode(target), MNT_DETACH, what=os.fspath(target))


def set_attributes(fd: int, set: int = 0, clear: int = 0, *, propagation: int = 0, recursive: bool = False) -> None:
    """Change a mount's attributes and propagation (mount_setattr(2))."""
    attributes = _MountAttr(set, clear, propagation, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    size = ctypes.sizeof(attributes)
    syscall(SYS_MOUNT_SETATTR, fd, b"", flags, ctypes.byref(attributes), size, what="mount_setattr")


def mount(source: str, target: Path | str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2) as it always was."""
    call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        os.fsencode(data) if data else None,
        what=os.fspath(target),
    )


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2); with ``.`` twice the old root ends up on top of the new one, see its NOTES."""
    syscall(SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old), what="pivot_root")


def _configure(kind: str, options: list[tuple[str, str | None]]) -> int:
    context = syscall(SYS_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC, what=kind)
    try:
        for key, value in options:
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            text = None if value is None else os.fsencode(value)
            syscall(SYS_FSCONFIG, context, command, key.encode(), text, 0, what=f"{kind}: {key}")
        syscall(SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0, what=kind)
    except OSError:
        os.close(context)
        raise
    return context


def _overlay_by_page(lower: list[str], named: dict[str, str], options: list[tuple[str, str | None]]) -> int:
    base = os.path.commonpath([*lower, *named.values()])
    texts = [f"lowerdir={':'.join(os.path.relpath(path, base) for path in lower)}"]
    texts += [f"{key}={os.path.relpath(path, base)}" for key, path in named.items()]
    texts += [key if value is None else f"{key}={value}" for key, value in options]
    data = ",".join(texts)
    if len(os.fsencode(data)) >= _PAGE:
        raise OSError(errno.E2BIG, f"{len(lower)} layers are more than this kernel can stack", "overlay")

    def mounted() -> int:
        os.chdir(base)
        # /proc serves as the mount point: it is there on every machine, and in this namespace nobody needs it.
        mount("overlay", "/proc", "overlay", 0, data)
        return bind("/proc")

    return _in_own_namespace(mounted, "overlay")


def _in_own_namespace(do: Callable[[], _Made], what: str) -> _Made:
    """What ``do`` makes, in a thread with a mount namespace and working directory of its own; errors name ``what``."""
    import threading  # late: the monitor's half of a runtime imports this module, and never comes here

    result: list[_Made] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            unshare(CLONE_NEWNS)
            mount("none", "/", None, MS_REC | MS_PRIVATE)
            result.append(do())
        except OSError as error:
            errors.append(OSError(error.errno, error.strerror, what))

    thread = threading.Thread(target=run, name="mounts")
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return result[0]
