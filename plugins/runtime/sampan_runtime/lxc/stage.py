"""Where ``lxc-start`` works: a mount namespace of its own in which the root file system has a path; and the files
that it reads, beside the container.

LXC refuses to mount anything on a path that leads through a symbolic link, and follows them when it makes mount points.
Both are the image's: so each target is looked up, and made if it is missing, inside the root before LXC sees its name.
"""

from __future__ import annotations

import os

from sampan.errors import StartFailed
from sampan.linux import mounts, namespaces, paths
from sampan.linux.suppress import suppress
from sampan_runtime.lxc import news, text
from sampan_runtime.native import rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ASIDE = f"{news.RUN}/aside"  # for what has no path
_PASSWD_LIMIT = 1 << 20
_LOG_LIMIT = 1 << 16


def build(order: dict[str, Any], root: int) -> bytes:
    """Enter the namespace, attach ``root`` in it, and write the configuration. The home directory of the user."""
    directory = order["directory"]
    os.makedirs(f"{directory}/rootfs", mode=0o711, exist_ok=True)  # noqa: PTH103
    for name in (f"{order['id']}.log", "complaint"):
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{name}")  # noqa: PTH108
    _set_early(order)
    trees = _out_of_reach(order["mounts"])
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_SLAVE)
    news.own()
    # A copy of a part of a shared mount is its peer: what is mounted on the one would show up on the other.
    mounts.set_attributes(root, propagation=mounts.MS_PRIVATE, recursive=True)
    mounts.attach(root, f"{directory}/rootfs")
    stage = Stage(order, root, _place_aside(trees))
    entries = stage.entries()
    _write(directory, "config", b"\n".join([*order["lines"], *stage.lines, *entries, *_hook(order), b""]))
    if order["policy"]:
        _write(directory, "seccomp", order["policy"].encode())
    if order["read_only"]:
        mounts.set_attributes(root, mounts.MOUNT_ATTR_RDONLY)
    return home(root, order["uid"])


class Stage:
    """The mounts of one container, each with a place that is sure."""

    def __init__(self, order: dict[str, Any], root: int, aside: dict[bytes, bytes]) -> None:
        self._aside = aside
        self._order = order
        self._root = root
        self._known: list[tuple[bytes, bytes, str, bytes]] = []  # target, its place, kind, source
        self._dev = any(target == b"/dev" and kind == "tmpfs" for target, kind, _, _ in order["mounts"])
        self.lines: list[bytes] = []

    def entries(self) -> list[bytes]:
        made: list[bytes] = []
        for target, kind, source, options in self._order["mounts"]:
            made += self._entry(_clean(target), kind, source, options)
        if not self._dev:  # /dev is the image's own
            rootfs.make_devices(self._root, [*rootfs.DEVICES, *self._order["devices"]])
        elif self._order["devices"]:
            made += self._nodes()
        with suppress(NotADirectoryError):  # which is told when the directory is entered
            os.close(paths.make_directories(self._root, self._order["cwd"]))
        for target in self._order["read_only_paths"]:
            made += self._again(_clean(target), ["rbind", "ro"])
        for target in self._order["masked"]:
            made += self._mask(_clean(target))
        return made

    def _entry(self, target: bytes, kind: str, source: bytes, options: list[str]) -> list[bytes]:
        if target == b"/dev" and kind == "tmpfs":
            return self._automatic_dev(target, options)
        if target == b"/dev/pts" and kind == "devpts" and self._dev:
            self.lines.append(text.line("lxc.pty.max", "1024"))
            return []
        if kind == "cgroup":
            return self._cgroups(target, [option for option in options if option != "rro"])
        if kind == "bind":
            return self._bind(target, source, options)
        place, missing = self._place(target, directory=True)
        self._known.append((target, place, kind, source))
        return [text.mount(source, place, kind, [*options, *(["create=dir"] if missing else [])])]

    def _automatic_dev(self, target: bytes, options: list[str]) -> list[bytes]:
        """LXC makes ``/dev`` and what is always in it, but only where it is a directory."""
        place, _ = self._place(target, directory=True)
        if place != b"dev":
            raise StartFailed("LXC makes /dev itself, and cannot where the image has a symbolic link", 128)
        self._known.append((target, place, "tmpfs", b""))
        self.lines.append(text.line("lxc.autodev", "1"))
        size = next((option.partition("=")[2] for option in options if option.startswith("size=")), "")
        if size:
            self.lines.append(text.line("lxc.autodev.tmpfs.size", str(_bytes(size))))
        return []

    def _bind(self, target: bytes, source: bytes, options: list[str]) -> list[bytes]:
        source = self._aside.get(source, source)
        try:
            directory = os.path.isdir(source)  # noqa: PTH112
            os.stat(source)  # noqa: PTH116
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise StartFailed(
                f"cannot mount {os.fsdecode(source)!r} on {os.fsdecode(target)!r}: {reason}", 128
            ) from None
        place, missing = self._place(target, directory=directory)
        self._known.append((target, place, "bind", source))
        plain = [option for option in options if option != "rro"]
        created = ["create=dir" if directory else "create=file"] if missing else []
        made = [text.mount(source, place, "none", [*plain, *created])]
        if "rro" in options:  # LXC makes the top one alone read-only
            for below in _mounts_below(source):
                inside = place + b"/" + below
                made.append(text.mount(inside, inside, "none", ["bind", "ro", "relative"]))
        return made

    def _cgroups(self, target: bytes, options: list[str]) -> list[bytes]:
        """Every hierarchy of the host, as far as the container's cgroup namespace shows them."""
        place, missing = self._place(target, directory=True)
        self._known.append((target, place, "tmpfs", b""))
        created = ["create=dir"] if missing else []
        if self._order["unified"]:
            return [text.mount(b"cgroup", place, "cgroup2", [*options, *created])]
        writable = [option for option in options if option != "ro"]
        made = [text.mount(b"cgroup", place, "tmpfs", [*writable, "mode=755", *created])]
        for name, source in self._order["hierarchies"]:
            # Bound, because LXC passes over options such as ``cpu``, by which a hierarchy would be mounted.
            inside = place + b"/" + name.encode()
            made.append(text.mount(source.encode(), inside, "none", ["bind", *options, "create=dir"]))
        if "ro" in options:
            made.append(text.mount(place, place, "none", ["rbind", "relative", *options]))
        return made

    def _nodes(self) -> list[bytes]:
        """Devices that were asked for: made where nobody else sees them, and bound to where they are wanted."""
        made = [text.comment("Devices of its own. Their nodes are made by sampan, for lxc-start alone:")]
        for number, (path, mode, device, uid, gid) in enumerate(self._order["devices"]):
            node = f"{_ASIDE}/{number}"
            os.mknod(node, mode, device)
            os.chmod(node, mode & 0o7777)  # noqa: PTH101 - past the umask
            os.chown(node, uid, gid)
            place, missing = self._place(_clean(path), directory=False)
            made.append(
                text.comment(f"mknod {os.fsdecode(path)}: {os.major(device)}:{os.minor(device)}, mode {mode:o}")
            )
            options = ["bind", "create=file"] if missing else ["bind"]
            made.append(text.mount(node.encode(), place, "none", options))
        return made

    def _again(self, target: bytes, options: list[str]) -> list[bytes]:
        """Bind what is there to where it is, with other options."""
        place = self._found(target)
        return [] if place is None else [text.mount(place, place, "none", [*options, "relative"])]

    def _mask(self, target: bytes) -> list[bytes]:
        place = self._found(target)
        if place is None:
            return []
        if self._is_directory(target, place):
            return [text.mount(b"tmpfs", place, "tmpfs", ["ro", "size=0", "nr_inodes=1"])]
        return [text.mount(b"/dev/null", place, "none", ["bind"])]

    def _found(self, target: bytes) -> bytes | None:
        """Where something is that need not be there; None if it is not, or in something that begins empty."""
        above = self._above(target)
        if above and above[2] in ("proc", "sysfs"):  # all that is mounted of these is alike
            there = os.path.lexists(_of_host(above[2], above[0], target))
            return above[1] + target[len(above[0]) :] if there else None
        if above and above[2] != "bind":
            return None
        top = self._root if not above else os.open(above[3], paths.DIRECTORY | os.O_CLOEXEC)
        with suppress(FileNotFoundError, NotADirectoryError):
            fd = paths.open_in_root(top, target[len(above[0]) :] if above else target, os.O_PATH)
            inside = paths.inside(top, fd)
            os.close(fd)
            return (above[1] + b"/" if above else b"") + inside
        return None

    def _is_directory(self, target: bytes, place: bytes) -> bool:
        above = self._above(target)
        if above and above[2] in ("proc", "sysfs"):
            return os.path.isdir(_of_host(above[2], above[0], target))  # noqa: PTH112
        if above:
            return os.path.isdir(above[3] + target[len(above[0]) :])  # noqa: PTH112
        return os.path.isdir(os.fsencode(f"{self._order['directory']}/rootfs/") + place)  # noqa: PTH112

    def _above(self, target: bytes) -> tuple[bytes, bytes, str, bytes] | None:
        """The mount in which a target lies: of all that came before, the deepest and last."""
        found = [each for each in self._known if target == each[0] or target.startswith(each[0] + b"/")]
        return max(reversed(found), key=lambda each: len(each[0]), default=None)

    def _place(self, target: bytes, *, directory: bool) -> tuple[bytes, bool]:
        """A target's name relative to the root, without links; and whether LXC has to make it, which is only safe in
        what begins empty."""
        above = self._above(target)
        if not above:
            fd = rootfs.place_for(self._root, target, directory)
            place = paths.inside(self._root, fd)
            os.close(fd)
            if not place:
                raise StartFailed(f"nothing can be mounted on {os.fsdecode(target)!r}: it is the root", 128)
            below = self._above(b"/" + place)
            return self._place(b"/" + place, directory=directory) if below else (place, False)
        rest = target[len(above[0]) :]
        if not rest or above[2] != "bind":
            return above[1] + rest, bool(rest) and above[2] not in ("proc", "sysfs")
        top = os.open(above[3], paths.DIRECTORY | os.O_CLOEXEC)
        fd = rootfs.place_for(top, rest, directory)
        inside = paths.inside(top, fd)
        for each in (fd, top):
            os.close(each)
        return above[1] + b"/" + inside, False


def _out_of_reach(wanted: list[Any]) -> dict[bytes, tuple[int, bool]]:
    """What is to be bound and is mounted for nobody but who holds its descriptor: by its name, a copy of it, and
    whether it is a directory. (LXC's mount(2) binds only what its own mount namespace has.)"""
    found = {}
    for _, kind, source, options in wanted:
        if kind == "bind" and source.startswith(b"/proc/") and b"/fd/" in source:
            found[source] = mounts.bind(os.fsdecode(source), recursive="rbind" in options), os.path.isdir(source)  # noqa: PTH112
    return found


def _place_aside(trees: dict[bytes, tuple[int, bool]]) -> dict[bytes, bytes]:
    """Make a place that nobody else has for these, and for devices; where the trees are in it."""
    os.mkdir(_ASIDE)  # noqa: PTH102
    placed = {}
    for number, (source, (tree, directory)) in enumerate(trees.items()):
        path = f"{_ASIDE}/tree-{number}"
        if directory:
            os.mkdir(path)  # noqa: PTH102
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        mounts.attach(tree, path)
        os.close(tree)
        placed[source] = os.fsencode(path)
    return placed


def _clean(target: bytes) -> bytes:
    return b"/" + os.path.normpath(b"/" + target).lstrip(b"/")


def _of_host(kind: str, mounted: bytes, target: bytes) -> bytes:
    return {"proc": b"/proc", "sysfs": b"/sys"}[kind] + target[len(mounted) :]


def _bytes(size: str) -> int:
    number, unit = size.rstrip("kKmMgG"), size[-1:].lower()
    return int(number) << {"k": 10, "m": 20, "g": 30}.get(unit, 0)


def _mounts_below(source: bytes) -> list[bytes]:
    """What is mounted in a directory, relative to it (proc_pid_mountinfo(5))."""
    real = os.path.realpath(source)
    with open("/proc/self/mountinfo", "rb") as lines:  # noqa: PTH123
        points = [line.split()[4].decode("unicode_escape").encode("latin-1") for line in lines]
    return [point[len(real) + 1 :] for point in points if point.startswith(real + b"/")]


def _set_early(order: dict[str, Any]) -> None:
    """Settings of a network namespace that is there already."""
    if not order["early"]:
        return
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    inside = os.open(order["network"], os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(inside, namespaces.CLONE_NEWNET)
    try:
        for path, value in order["early"]:
            _set(path, value)
    finally:
        namespaces.setns(before, namespaces.CLONE_NEWNET)
        os.close(inside)
        os.close(before)


def _set(path: str, value: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, value.encode())
        os.close(fd)
    except OSError as error:
        raise StartFailed(f"write {value!r} to {path}: {(error.strerror or '').lower()}", 128) from None


_HOOK = """\
#!/bin/sh
# lxc.hook.mount: kernel settings of the new namespaces. LXC's own lxc.sysctl comes when /proc/sys is read-only.
set_to() {{
    printf %s "$2" 2>/dev/null >"$1" || {{
        echo "write '$2' to $1: refused by the kernel" >{complaint}
        exit 1
    }}
}}
"""


def _hook(order: dict[str, Any]) -> list[bytes]:
    if not order["late"]:
        return []
    directory = order["directory"]
    script = _HOOK.format(complaint=_quoted(f"{directory}/complaint"))
    script += "".join(f"set_to {_quoted(path)} {_quoted(value)}\n" for path, value in order["late"])
    _write(directory, "settings", script.encode())
    return [text.line("lxc.hook.mount", f"/bin/sh {_quoted(directory + '/settings')}")]


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _write(directory: str, name: str, content: bytes) -> None:
    fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb", buffering=0) as file:  # noqa: PTH123
        file.write(content)


def home_inside(order: dict[str, Any]) -> bytes:
    """The home directory of an exec's user, in the running container."""
    if order["env"].get(b"HOME"):
        return b""
    with suppress(OSError):
        root = os.open(f"/proc/{order['pid']}/root", paths.DIRECTORY | os.O_CLOEXEC)
        return home(root, order["uid"])
    return b"/"


def home(root: int, uid: int) -> bytes:
    """The home directory that the container's own /etc/passwd gives (passwd(5)), else ``/``."""
    with suppress(OSError):
        for line in paths.read_file(root, b"/etc/passwd", _PASSWD_LIMIT).splitlines():
            fields = line.split(b":")
            if len(fields) > 5 and fields[2] == b"%d" % uid:
                return fields[5] or b"/"
    return b"/"


def explained(failure: StartFailed, log: str, order: dict[str, Any]) -> StartFailed:
    """A failure whose reason only LXC knows, with what it has written about it."""
    if failure.exit_code != 128:
        return failure
    for path, say in ((f"{order['directory']}/complaint", str), (log, sentence)):
        with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            said = say(file.read(_LOG_LIMIT)).strip()
            if said:
                return StartFailed(said, 128)
    return failure


def sentence(log: str) -> str:
    """The first error of a log, which led to the others: ``lxc-start NAME TIME ERROR MODULE - FILE:LINE - TEXT``."""
    for line in log.splitlines():
        head, error, rest = line.partition(" ERROR ")
        if error:
            said = rest.split(" - ", 2)[-1]
            return f"LXC could not make the container: {said or head}"
    return ""
