"""The chroot runtime's half in the monitor (see ``sampan.drivers.runtime``): imports next to nothing."""

from __future__ import annotations

import errno
import os
import resource

from sampan.errors import StartFailed
from sampan.linux import capabilities, messages, process
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import libc
from sampan_chroot import roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


def prepare() -> None:
    _ = libc.prctl, libc.syscall  # the first use of a C function after a fork would cost time


def start(order: dict[str, Any], root: int, stdio: tuple[int, int, int]) -> tuple[int, int]:
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    roots.write(order["record"], roots.identify(directory))
    try:
        return _clone(order, directory, stdio), -1
    except BaseException:
        roots.end(order["record"])
        raise


def exec(order: dict[str, Any], stdio: tuple[int, int, int]) -> tuple[int, int]:
    try:
        directory = os.open(f"/proc/{order['pid']}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise StartFailed("the container has ended") from None
    if roots.identify(directory) != roots.read(order["record"]):
        raise StartFailed("the container has ended")
    return _clone(order, directory, stdio), -1


def ended(order: dict[str, Any]) -> bool:
    return False  # nobody counts its memory


def finish(order: dict[str, Any]) -> None:
    with suppress(OSError):
        roots.end(order["record"])


def _clone(order: dict[str, Any], directory: int, stdio: tuple[int, int, int]) -> int:
    """The process, as a child of the monitor's; returns when its execve has succeeded."""
    ours, theirs = messages.pair()
    pid = process.clone(0)
    if pid == 0:
        _run(order, directory, stdio, theirs)
    theirs.close()
    message, _ = messages.receive(ours)
    if message is not None:
        raise StartFailed(message[1], message[0])
    return pid


def _run(order: dict[str, Any], directory: int, stdio: tuple[int, int, int], report: Any) -> None:
    """Never returns; a failure is reported as exit code and sentence, success by the end of the line."""
    try:
        _become(order, directory, stdio, report)
    except StartFailed as failure:
        messages.send(report, (failure.exit_code, failure.message))
    except BaseException as error:
        messages.send(report, (128, f"the container could not be prepared: {type(error).__name__}: {error}"))
    finally:
        os._exit(128)


def _become(order: dict[str, Any], directory: int, stdio: tuple[int, int, int], report: Any) -> None:
    import _signal  # type: ignore[import-not-found]

    os.setsid()
    os.fchdir(directory)
    os.chroot(".")
    os.chdir("/")
    if order["init"]:
        _furnish(order["files"])
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
    process.close_all_but(report.fileno())
    for number in range(1, 65):
        if number not in (9, 19, *process.RESERVED_SIGNALS):
            _signal.signal(number, _signal.SIG_DFL)
    process.default_reserved_signals()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    os.umask(order["umask"])
    for number, soft, hard in order["rlimits"]:
        resource.setrlimit(number, (soft, hard))
    _drop(order)
    try:
        os.chdir(order["cwd"])
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        reason = (error.strerror or "").lower()
        raise StartFailed(f"cannot use {os.fsdecode(order['cwd'])!r} as working directory: {reason}", code) from None
    _execute(order["args"], order["env"])


def _furnish(files: list[tuple[bytes, bytes]]) -> None:
    """What can be there without a mount: a few devices, and copies of the files that the engine writes. Whatever the
    image has in these places instead, links and pipes included, is inside of the root by now."""
    with suppress(FileExistsError):
        os.mkdir("/dev", 0o755)  # noqa: PTH102
    for name, major, minor in _DEVICES:
        with suppress(OSError):
            os.mknod(f"/dev/{name}", 0o020666, os.makedev(major, minor))
            os.chmod(f"/dev/{name}", 0o666)  # noqa: PTH101, S103
    for path, content in files:
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(path, flags, 0o644)
            os.write(fd, content)
            os.close(fd)


def _drop(order: dict[str, Any]) -> None:
    bounding, effective, permitted, inheritable, ambient = order["capabilities"]
    capabilities.limit_bounding(bounding)
    process.prctl(8, 1)  # PR_SET_KEEPCAPS
    os.setgroups(order["groups"])
    os.setresgid(order["gid"], order["gid"], order["gid"])
    os.setresuid(order["uid"], order["uid"], order["uid"])
    capabilities.set_all(effective, permitted, inheritable)
    if ambient:
        capabilities.set_ambient(ambient)
    if order["no_new_privileges"]:
        process.prctl(38, 1)  # PR_SET_NO_NEW_PRIVS


def _execute(args: list[bytes], environment: dict[bytes, bytes]) -> None:
    name, error = args[0], OSError(errno.ENOENT, "executable file not found in $PATH")
    search = environment.get(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    for path in [name] if b"/" in name else [(each or b".") + b"/" + name for each in search.split(b":")]:
        try:
            if os.path.isdir(path):  # noqa: PTH112
                raise IsADirectoryError(errno.EISDIR, "is a directory")
            os.execve(path, args, environment)  # noqa: S606
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ENOTDIR) or b"/" in name:
                error = failure
    code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
    raise StartFailed(f'exec: "{os.fsdecode(name)}": {(error.strerror or "").lower()}', code)
