"""What runs in the container between clone and execve: the new process builds its world and gives up its powers.

The order matters; each step says what it must come after. See namespaces(7), pivot_root(2), capabilities(7),
seccomp(2), and the OCI runtime specification, runtime.md, "Lifecycle".
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import errno
import fcntl
import os
import resource
import stat
import struct
import sys
import termios

from sampan.errors import StartFailed
from sampan.linux import capabilities, cgroups, messages, mounts, namespaces, paths, process, seccomp
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import call
from sampan_runtime.native import attendant, ready, rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_TTY_GROUP = 5
_LARGEST = 0xFFFF  # struct winsize has 16 bits for each (TIOCSWINSZ(2const))
DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSWD_LIMIT = 1 << 20
_LAST_SIGNAL = 64


class Things:
    """The descriptors that an init needs of the host: they are opened before it leaves the host's mounts.

    ``root``: the root file system. ``trees``: what is bound (see :func:`rootfs.trees`). ``joins``: namespaces, with
    their flags. ``tasks``: version 1 cgroups' files of that name. ``stdio``: three, or none with a terminal.
    """

    def __init__(self, root: int, trees: list[Any], joins: list[Any], tasks: list[int], stdio: list[int]) -> None:
        self.root = root
        self.trees = trees
        self.joins = joins
        self.tasks = tasks
        self.stdio = stdio

    @classmethod
    def gather(cls, order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> Things:
        read, write = os.O_RDONLY | os.O_CLOEXEC, os.O_WRONLY | os.O_CLOEXEC
        return cls(
            root,
            rootfs.trees(order),
            [(flag, os.open(path, read)) for flag, path in order["joins"] if flag != namespaces.CLONE_NEWPID],
            [os.open(path, write) for path in order["tasks"]],
            [] if order["terminal"] else list(stdio),
        )

    def pack(self) -> tuple[Any, list[int]]:
        """For a message: their shape, and the descriptors in a row."""
        shape = ([is_directory for _, is_directory in self.trees], [flag for flag, _ in self.joins], len(self.tasks))
        fds = [fd for fd, _ in self.trees] + [fd for _, fd in self.joins]
        return shape, [self.root, *fds, *self.tasks, *self.stdio]

    @classmethod
    def unpack(cls, shape: Any, fds: list[int]) -> Things:
        directories, flags, tasks = shape
        root, *rest = fds
        trees = [(rest.pop(0), is_directory) for is_directory in directories]
        joins = [(flag, rest.pop(0)) for flag in flags]
        return cls(root, trees, joins, rest[:tasks], rest[tasks:])


def run_init(order: dict[str, Any], things: Things, report: Any) -> None:
    """Become a container's init. Never returns; a failure is reported as ``(exit code, sentence)``."""
    _begin_marks()
    _guarded(report, _init, order, things, report)


def run_remapped(order: dict[str, Any], things: Things, dev: Any, report: Any) -> None:
    """The same in a user namespace, which the caller is in. ``dev`` is from :func:`remapped.fit`."""
    _guarded(report, _remapped, order, things, dev, report)


def run_ready(link: Any, usual: dict[str, Any], groups: list[str]) -> None:
    """Make ahead what can be made, and become a container's init when its order comes over ``link``. Never returns."""
    _guarded(link, _ready, link, usual, groups)


def run_exec(order: dict[str, Any], tasks: list[int], stdio: tuple[int, int, int], report: Any) -> None:
    """Become one more process of the container that the parent has gone to ahead. Never returns."""
    _begin_marks()
    _guarded(report, _exec, order, tasks, stdio, report)


def run_remapped_exec(order: dict[str, Any], init: int, stdio: tuple[int, int, int], report: Any) -> None:
    """The same for a container with a user namespace, whose init has the pidfd ``init``."""
    _begin_marks()
    _guarded(report, _remapped_exec, order, init, stdio, report)


def go_ahead(order: dict[str, Any], init: int) -> list[int]:
    """Take a starter to where the process shall be, but not into its groups, whose files are returned open.

    What it has then, its child has when it is made, and has not to copy the memory first in which it would do it.
    Nothing can be imported from there, where it would be others' code. ``StartFailed`` if a step of it fails.
    """
    sys.path.clear()
    try:
        tasks = _go(order, init)
        capabilities.limit_bounding(order["capabilities"]["bounding"])
    except OSError as error:
        raise StartFailed(sentence(error), 128) from None
    order["to_drop"] = 0
    return tasks


def _go(order: dict[str, Any], init: int) -> list[int]:
    tasks = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in order["tasks"]]
    _set_oom_score(order)
    namespaces.setns(init, order["flags"])
    order["env"] = _environment(order)
    return tasks


def warm(order: dict[str, Any]) -> None:
    """What a starter does in :func:`go_ahead`, to where it is, and what is the same for all processes."""
    _default_signals()
    me = os.pidfd_open(os.getpid())
    _go(order, me)
    os.close(me)
    capabilities.limit_bounding(capabilities.ALL)


def _begin_marks() -> None:
    process.marks.clear()
    process.mark("")


def _guarded(report: Any, step: Any, *args: Any) -> None:
    try:
        step(*args)
    except StartFailed as failure:
        messages.send(report, ("failed", failure.exit_code, failure.message))
    except OSError as error:
        messages.send(report, ("failed", 128, sentence(error)))
    except BaseException as error:
        messages.send(report, ("failed", 128, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(128)


def sentence(error: OSError) -> str:
    """What failed, and in which of our steps: few of these errors name a file."""
    trace = error.__traceback__
    steps = []
    while trace:
        steps.append(trace.tb_frame.f_code.co_name.strip("_"))
        trace = trace.tb_next
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    where = " ".join(filter(None, [name, f"({', '.join(steps[1:])})"]))
    return f"the container could not be prepared: {where}: {(error.strerror or '').lower()}"


def _ready(link: Any, usual: dict[str, Any], groups: list[str]) -> None:
    os.setsid()
    ready.join(groups)
    made = ready.make(usual)
    _default_signals()
    _give_up_ahead(usual)
    _rehearse(usual, made)
    messages.send(link, ("ready",))
    shape, fds = messages.receive(link)
    if shape is None:  # given up
        return
    _begin_marks()
    order = messages.kept(fds.pop(0))
    order["flags"] &= ~namespaces.CLONE_NEWCGROUP  # it has that
    order["to_drop"] = usual["capabilities"]["bounding"]
    _enter_container(order, Things.unpack(shape, fds), made, link)


def _give_up_ahead(usual: dict[str, Any]) -> None:
    """What no container that comes here may ever gain; what this process has, it keeps until the end."""
    capabilities.limit_bounding(usual["capabilities"]["bounding"])


def _rehearse(usual: dict[str, Any], made: ready.Ready) -> None:
    """Touch what will be touched when it matters: a page's first change since the fork is a copy, and takes its time.

    Nothing of this changes anything.
    """
    fd = messages.keep(usual)
    messages.kept(fd)
    os.close(fd)
    made.settle(usual)
    having = capabilities.permitted()
    capabilities.set_all(having, having, 0)
    _enter(b"/")
    with suppress(StartFailed):
        _find(b"none", DEFAULT_PATH)


def _init(order: dict[str, Any], things: Things, report: Any) -> None:
    os.setsid()
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    _enter_container(order, things, ready.none(order), report)


def _remapped(order: dict[str, Any], things: Things, dev: Any, report: Any) -> None:
    from sampan_runtime.native import remapped

    os.setsid()
    remapped.become_root()
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    _enter_container(order, things, remapped.ready(order, dev), report)


def _enter_container(order: dict[str, Any], things: Things, made: ready.Ready, report: Any) -> None:
    _join_cgroups(things.tasks)
    if order["flags"] & namespaces.CLONE_NEWCGROUP:
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)  # its root is the group that we are in now
    for flag, fd in things.joins:
        namespaces.setns(fd, flag)
    if order["hostname"] and order["flags"] & namespaces.CLONE_NEWUTS:
        call("sethostname", order["hostname"], len(order["hostname"]))
    if order["domainname"] and order["flags"] & namespaces.CLONE_NEWUTS:
        call("setdomainname", order["domainname"], len(order["domainname"]))
    process.mark("enter groups and namespaces", "namespaces", f"{len(things.joins)} joined, the others its own")
    _set_oom_score(order)  # through a /proc that we can trust, while it is there
    if order["init"]:
        attendant.rename(order["args"])
    rootfs.build(order, things.root, things.trees, made)
    process.mark("build the root file system and move into it", "mount", f"{len(order['mounts'])} mounts on /")
    if order["terminal"]:
        _make_terminal(order, report)
        _bind_console()
    else:
        _use(things.stdio, order["uid"])
    _become(order, report)


def _exec(order: dict[str, Any], tasks: list[int], stdio: tuple[int, int, int], report: Any) -> None:
    os.setsid()
    _join_cgroups(tasks)
    _connect(order, stdio, report)
    _become(order, report)


def _remapped_exec(order: dict[str, Any], init: int, stdio: tuple[int, int, int], report: Any) -> None:
    from sampan_runtime.native import remapped

    os.setsid()
    _join_cgroups([os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in order["tasks"]])
    _set_oom_score(order)
    remapped.lend(order, stdio)
    namespaces.setns(init, order["flags"] & ~namespaces.CLONE_NEWPID)
    remapped.become_root()
    _connect(order, stdio, report)
    _become(order, report)


def _connect(order: dict[str, Any], stdio: Sequence[int], report: Any) -> None:
    if order["terminal"]:
        _make_terminal(order, report)
    else:
        _use(stdio, order["uid"])


def _join_cgroups(tasks: list[int]) -> None:
    # Writing 0 to ``tasks`` moves one thread, the caller, and this process has only one; ``cgroup.procs`` would take a
    # lock that the whole machine shares, and several milliseconds.
    for fd in tasks:
        os.write(fd, b"0")


def _set_oom_score(order: dict[str, Any]) -> None:
    if order["oom_score_adj"] is None:
        return
    try:
        cgroups.write("/proc/self/oom_score_adj", str(order["oom_score_adj"]))
    except PermissionError:
        return  # lowering it takes CAP_SYS_RESOURCE, which this machine may not grant (proc_pid_oom_score_adj(5))


def _use(stdio: Sequence[int], uid: int) -> None:
    own(stdio, uid)
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)


def own(stdio: Sequence[int], uid: int) -> None:
    """Pipes become the user's, who could not open ``/dev/stdout`` again otherwise; nothing else is ours to give."""
    for fd in stdio if uid else ():
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, -1)


_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def _make_terminal(order: dict[str, Any], report: Any) -> None:
    """A terminal of the container's own devpts as descriptors 0, 1, 2 and controlling terminal (pts(4)).

    The slave is opened through the master (ioctl_tty(2), TIOCGPTPEER), so no name inside the container is trusted.
    """
    master, slave = open_terminal(order)
    messages.send(report, ("terminal",), [master])
    os.close(master)
    for number in range(3):
        os.dup2(slave, number)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def open_terminal(order: dict[str, Any]) -> tuple[int, int]:
    """Its master and its slave."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    os.fchown(slave, order["uid"], _TTY_GROUP)
    if order["size"]:  # before the program can ask
        fcntl.ioctl(
            master, termios.TIOCSWINSZ, struct.pack("HHHH", *(min(each, _LARGEST) for each in order["size"]), 0, 0)
        )
    return master, slave


def _bind_console() -> None:
    try:
        os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o600))
        tree = mounts.bind(os.ttyname(0))
        mounts.attach(tree, "/dev/console")
        os.close(tree)
    except OSError:
        return  # a root without /dev of its own has no console


def _become(order: dict[str, Any], report: Any) -> None:
    """The last steps, alike for init and exec: nothing after them may need what they give up."""
    process.close_all_but(report.fileno())
    if _signal.getsignal(_signal.SIGPIPE) != _signal.SIG_DFL:  # which an init made ahead has done with all of them
        _default_signals()
    os.umask(order["umask"])
    for number, soft, hard in order["rlimits"]:
        _set_limit(number, soft, hard)
    environment = _environment(order)
    _drop(order)
    _enter(order["cwd"])
    process.prctl(process.PR_SET_PDEATHSIG, _signal.SIGKILL)  # after the last change of credentials, which clears it
    process.mark("give up powers: user, capabilities, seccomp", "process", "1")
    messages.send(report, ("alive", process.marks))  # fails if the monitor died before the line above took effect
    if order.get("init"):
        attendant.attend(report)
    _execute(order["args"], environment)


def _default_signals() -> None:
    """Ignored signals stay ignored over execve, and Python ignores some."""
    for number in range(1, _LAST_SIGNAL + 1):
        if number not in (_signal.SIGKILL, _signal.SIGSTOP, *process.RESERVED_SIGNALS):
            _signal.signal(number, _signal.SIG_DFL)
    process.default_reserved_signals()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _set_limit(number: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(number, (soft, hard))
    except (PermissionError, ValueError):
        # Raising a hard limit takes CAP_SYS_RESOURCE, which this machine may not grant: as near as it lets us.
        _, ceiling = resource.getrlimit(number)
        if ceiling != -1:
            soft = ceiling if soft == -1 else min(soft, ceiling)
            hard = ceiling if hard == -1 else min(hard, ceiling)
        resource.setrlimit(number, (soft, hard))


def _environment(order: dict[str, Any]) -> dict[bytes, bytes]:
    environment: dict[bytes, bytes] = order["env"]
    if not environment.get(b"HOME"):
        environment[b"HOME"] = _home(order["uid"])
    return environment


def _home(uid: int) -> bytes:
    """The home directory that the container's own /etc/passwd gives (passwd(5)), else ``/``."""
    try:
        root = os.open("/", paths.DIRECTORY | os.O_CLOEXEC)
        text = paths.read_file(root, b"/etc/passwd", _PASSWD_LIMIT)
        os.close(root)
    except OSError:
        return b"/"
    for line in text.splitlines():
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == b"%d" % uid:
            return fields[5] or b"/"
    return b"/"


def _drop(order: dict[str, Any]) -> None:
    sets = order["capabilities"]
    if order["seccomp"] and not order["no_new_privileges"]:
        seccomp.load(order["seccomp"])  # needs CAP_SYS_ADMIN, so before that goes
    capabilities.limit_bounding(sets["bounding"], order.get("to_drop", capabilities.ALL))
    process.prctl(process.PR_SET_KEEPCAPS, 1)
    os.setgroups(order["groups"])
    os.setresgid(order["gid"], order["gid"], order["gid"])
    os.setresuid(order["uid"], order["uid"], order["uid"])
    capabilities.set_all(sets["effective"], sets["permitted"], sets["inheritable"])
    if sets["ambient"]:
        capabilities.set_ambient(sets["ambient"])
    if order["no_new_privileges"]:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
        if order["seccomp"]:
            seccomp.load(order["seccomp"])


def _enter(cwd: bytes) -> None:
    try:
        os.chdir(cwd)
        os.getcwdb()  # noqa: PTH109 - fails outside of our root: nobody may smuggle in a directory of the host's
    except FileNotFoundError:
        raise StartFailed(f"the working directory {os.fsdecode(cwd)!r} does not exist in the container", 127) from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise StartFailed(f"cannot use {os.fsdecode(cwd)!r} as working directory: {reason}", 126) from None


def _execute(args: list[bytes], environment: dict[bytes, bytes]) -> None:
    path = _find(args[0], environment.get(b"PATH", DEFAULT_PATH))
    try:
        os.execve(path, args, environment)  # noqa: S606
    except OSError as error:
        code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        raise _refusal(args[0], (error.strerror or "").lower(), code) from None


def _find(name: bytes, search: bytes) -> bytes:
    """The program's path: as execvp(3) looks for it, with the words by which Docker's clients know the failures."""
    if b"/" in name:
        try:
            found = os.stat(name)  # noqa: PTH116
        except OSError as error:
            code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
            raise _refusal(name, f"stat {os.fsdecode(name)}: {(error.strerror or '').lower()}", code) from None
        if found.st_mode & 0o170000 == 0o040000:
            raise _refusal(name, "is a directory", 126)
        if not os.access(name, os.X_OK):
            raise _refusal(name, "permission denied", 126)
        return name
    denied = False
    for directory in search.split(b":"):
        path = (directory or b".") + b"/" + name
        if os.path.isfile(path):  # noqa: PTH113
            if os.access(path, os.X_OK):
                return path
            denied = True
    if denied:
        raise _refusal(name, "permission denied", 126)
    raise _refusal(name, "executable file not found in $PATH", 127)


def _refusal(name: bytes, reason: str, code: int) -> StartFailed:
    return StartFailed(f'exec: "{os.fsdecode(name)}": {reason}', code)
