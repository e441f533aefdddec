"""Inside the new mount namespace: the root file system and everything on it.

The content of the root is the container's, so every target is resolved inside it (openat2, RESOLVE_IN_ROOT) and used
through its descriptor: a link that an image planted at ``/proc`` or ``/etc/hosts`` leads nowhere else.
"""

from __future__ import annotations

import errno
import os

from sampan.errors import StartFailed
from sampan.linux import cgroups, mounts, paths
from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sampan_runtime.native.ready import Ready, Wanted

    Tree = tuple[int, bool]

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

# The first four mount flags and mount attributes have the same values (mount_setattr(2)).
_ATTRIBUTES = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_LINKS_IN_A_ROW = 40  # as many as the kernel follows (path_resolution(7))


def trees(order: dict[str, Any]) -> list[Tree]:
    """Everything that the order binds, picked up in the host's mount namespace, in the order's order.

    Each is the descriptor of a detached copy, and whether it is a directory.
    """
    return [_tree(*wanted[2:6]) for wanted in order["mounts"] if wanted[0] == "bind"]


def _tree(source: str, flags: int, propagation: int, options: str) -> Tree:
    """``rro`` is read-only with all mounts that lie in it, ``ro`` is the top one alone (runtime-spec config.md)."""
    deep = bool(flags & mounts.MS_REC)
    tree = mounts.bind(source, recursive=deep)
    if flags & mounts.MS_RDONLY:
        mounts.set_attributes(tree, mounts.MS_RDONLY, recursive=deep and "rro" in options.split(","))
    if flags & _ATTRIBUTES & ~mounts.MS_RDONLY:
        mounts.set_attributes(tree, flags & _ATTRIBUTES & ~mounts.MS_RDONLY, recursive=deep)
    kind = propagation & ~mounts.MS_REC or mounts.MS_PRIVATE
    mounts.set_attributes(tree, propagation=kind, recursive=True)
    return tree, os.path.isdir(source)  # noqa: PTH112


def build(order: dict[str, Any], root: int, bound: list[Tree], ready: Ready) -> None:
    """Attach ``root``, put everything on it, and make it the calling process's root directory."""
    # A copy of a part of a shared mount is its peer: what is mounted on the one would show up on the other.
    mounts.set_attributes(root, propagation=mounts.MS_PRIVATE, recursive=True)
    mounts.attach(root, os.fsdecode(ready.place))
    ready.settle(order)
    mount_all(root, order["mounts"], order["hierarchies"], iter(bound), ready)
    made = ready.devices()
    make_devices(root, [each for each in order["devices"] if each not in made])
    for path, value in order["sysctl"]:
        _sysctl(ready.own if ready.own >= 0 else root, path, value)  # while /proc/sys can be written to
    _working_directory(root, order["cwd"])
    protect(root, [path for path in order["read_only_paths"] if not ready.covers(path)])
    mask(root, [path for path in order["masked"] if not ready.covers(path)], ready.null)
    if order["read_only"]:
        mounts.set_attributes(root, mounts.MOUNT_ATTR_RDONLY)
    os.fchdir(root)
    mounts.pivot_root(".", ".")
    mounts.detach(".")
    os.chdir("/")
    if order["propagation"] & ~mounts.MS_REC != mounts.MS_PRIVATE:
        mounts.mount("none", "/", None, order["propagation"])


def mount_all(
    root: int,
    wanted: Sequence[Wanted],
    hierarchies: list[tuple[str, str, str]],
    bound: Iterator[Tree] | None = None,
    ready: Ready | None = None,
) -> None:
    """Everything that is ``wanted`` on ``root``, of which some may be ``ready``; ``bound`` are the trees to bind."""
    for each in wanted:
        kind, target, source, flags, _, data = each
        if kind == "bind" and bound:
            _bind(root, target, next(bound))
        elif ready and ready.has(each):
            ready.attach(root, each)
        elif kind == "cgroup":
            _cgroups(root, target, flags, hierarchies)
        else:
            _mount(root, target, source, kind, flags, data)


def _mount(root: int, target: bytes, source: str, kind: str, flags: int, data: str) -> None:
    fd = paths.make_directories(root, target)
    mounts.mount(source, f"/proc/self/fd/{fd}", kind, flags, data or None)
    os.close(fd)


def _bind(root: int, target: bytes, tree: Tree) -> None:
    fd, directory = tree
    place = place_for(root, target, directory)
    mounts.attach(fd, place)
    os.close(place)
    os.close(fd)


def place_for(root: int, target: bytes, directory: bool) -> int:
    """The mount point, made if it is missing: a directory, or an empty file in its directory."""
    if directory:
        return paths.make_directories(root, target)
    for _ in range(_LINKS_IN_A_ROW):
        with suppress(FileNotFoundError):
            return paths.open_in_root(root, target, os.O_PATH)
        above, name = os.path.split(target)
        parent = paths.make_directories(root, above)
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
            return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileExistsError:  # a link that leads to nothing yet: what it leads to is made, inside the root
            target = os.path.join(above, os.readlink(name, dir_fd=parent))  # noqa: PTH118
        finally:
            os.close(parent)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), target)


def _cgroups(root: int, target: bytes, flags: int, hierarchies: list[tuple[str, str, str]]) -> None:
    """Every hierarchy of the host under ``target``; in the cgroup namespace each shows the container's own group."""
    if [kind for _, kind, _ in hierarchies] == ["cgroup2"]:
        _mount(root, target, "cgroup", "cgroup2", flags, "")
        return
    _mount(root, target, "cgroup", "tmpfs", flags & ~mounts.MS_RDONLY, "mode=755")
    for name, kind, data in hierarchies:
        _mount(root, target + b"/" + name.encode(), "cgroup", kind, flags, data)
    fd = paths.open_in_root(root, target, os.O_PATH)
    mounts.set_attributes(fd, flags & _ATTRIBUTES)
    os.close(fd)


def make_devices(root: int, devices: Sequence[tuple[bytes, int, int, int, int]]) -> None:
    """And the links that go with them."""
    for path, mode, number, uid, gid in devices:
        parent = paths.make_directories(root, os.path.dirname(path))  # noqa: PTH120
        name = os.path.basename(path)  # noqa: PTH119
        with suppress(FileExistsError):
            os.mknod(name, mode, number, dir_fd=parent)
            os.chmod(name, mode & 0o7777, dir_fd=parent)
            if uid or gid:
                os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        os.close(parent)
    parent = paths.open_in_root(root, b"/dev", paths.DIRECTORY)
    for source, name in LINKS:
        with suppress(FileExistsError):
            os.symlink(source, name, dir_fd=parent)
    os.close(parent)


def _sysctl(root: int, path: bytes, value: str) -> None:
    try:
        fd = paths.open_in_root(root, path, os.O_WRONLY)
        os.write(fd, value.encode())
        os.close(fd)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise StartFailed(f"write {value!r} to {os.fsdecode(path)}: {reason}", 128) from None


def _working_directory(root: int, path: str) -> None:
    try:
        os.close(paths.make_directories(root, path))
    except NotADirectoryError:
        raise StartFailed(f"the working directory {path} is not one: a file is in its way") from None


def protect(root: int, targets: Sequence[bytes]) -> None:
    """Make them read-only, with all that lies in them."""
    for target in targets:
        with suppress(FileNotFoundError):
            place = paths.open_in_root(root, target, os.O_PATH)
            tree = mounts.bind(place, recursive=True, read_only=True)
            mounts.attach(tree, place)
            os.close(tree)
            os.close(place)


def mask(root: int, targets: Sequence[bytes], null: int) -> None:
    """Cover files with /dev/null and directories with something empty, so that nothing of them can be read."""
    for target in targets:
        with suppress(FileNotFoundError):
            place = paths.open_in_root(root, target, os.O_PATH)
            if os.path.isdir(f"/proc/self/fd/{place}"):  # noqa: PTH112
                mounts.mount("tmpfs", f"/proc/self/fd/{place}", "tmpfs", mounts.MS_RDONLY, "size=0,nr_inodes=1")
            else:
                cover = mounts.bind(null)
                mounts.attach(cover, place)
                os.close(cover)
            os.close(place)


def hierarchies() -> list[tuple[str, str, str]]:
    """``(directory's name, file system, options)`` of each hierarchy of this host, for :func:`build`."""
    found = cgroups.hierarchies()
    by_place: dict[str, list[str]] = {}
    for controller, place in found.items():
        by_place.setdefault(place, []).append(controller)
    made = []
    for place, controllers in by_place.items():
        name = os.path.basename(place)  # noqa: PTH119
        if controllers == [cgroups.V2]:
            made.append((name, "cgroup2", ""))
        else:
            named = any(each.startswith("name=") for each in controllers)
            made.append((name, "cgroup", ",".join((["none"] if named else []) + controllers)))
    return made
