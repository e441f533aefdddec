"""Making user namespaces, and network namespaces that they own (user_namespaces(7)).

A process with more than one thread cannot enter a new user namespace (unshare(2)), so a small one is started for it,
which is gone when the namespace's descriptors are here.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from sampan.errors import Unavailable
from sampan.linux.idmaps import IdMap
from sampan.linux.namespaces import CLONE_NEWNET, CLONE_NEWUSER

_PATIENCE = 30.0  # seconds
_NS_GET_USERNS = 0xB701  # ioctl_nsfs(2)

# Its whole life: enter, say whether that went well, stay until its standard input ends.
_ENTER = """
import ctypes, resource, sys
for name in ("MEMLOCK", "MSGQUEUE", "SIGPENDING"):  # what its maker may have is the most that all of it may have
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (-1, -1))
    except (OSError, ValueError):
        pass
libc = ctypes.CDLL(None, use_errno=True)
flags = int(sys.argv[1])
failed = len(sys.argv) > 2 and libc.setns(int(sys.argv[2]), 0) or libc.unshare(flags)
print(ctypes.get_errno() if failed else 0, flush=True)
sys.stdin.read()
"""


def create(ids: IdMap) -> tuple[int, int]:
    """Descriptors of a new user namespace with these ids, and of a new network namespace that it owns.

    ``Unavailable`` if the kernel refuses.
    """
    with _Helper(CLONE_NEWUSER | CLONE_NEWNET) as helper:
        for name, ranges in (("gid_map", ids.gids), ("uid_map", ids.uids)):
            text = "".join(f"{each.inside} {each.outside} {each.size}\n" for each in ranges)
            _write(Path(f"/proc/{helper.pid}/{name}"), text)
        return helper.namespaces()


def create_network(users: Path) -> tuple[int, int]:
    """Descriptors of the user namespace at ``users``, and of a new network namespace that it owns."""
    fd = os.open(users, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _Helper(CLONE_NEWNET, fd) as helper:
            return helper.namespaces()
    finally:
        os.close(fd)


def owner(namespace: int) -> int:
    """A descriptor of the user namespace that owns the namespace of a descriptor (ioctl_nsfs(2))."""
    return fcntl.ioctl(namespace, _NS_GET_USERNS)


class _Helper:
    """A process in new namespaces, until the end of the block."""

    def __init__(self, flags: int, join: int | None = None) -> None:
        arguments = [str(flags)] if join is None else [str(flags), str(join)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", "-c", _ENTER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if join is None else (join,),
            env={},
        )
        self.pid = self._process.pid

    def __enter__(self) -> _Helper:
        assert self._process.stdout
        answer = self._process.stdout.readline()
        if answer != b"0\n":
            self.__exit__()
            reason = os.strerror(int(answer)).lower() if answer else "its process died"
            hint = "see /proc/sys/user/max_user_namespaces, and the kernel's CONFIG_USER_NS"
            raise Unavailable(f"no user namespace could be made: {reason} ({hint})")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(_PATIENCE)

    def namespaces(self) -> tuple[int, int]:
        flags = os.O_RDONLY | os.O_CLOEXEC
        users = os.open(f"/proc/{self.pid}/ns/user", flags)
        try:
            return users, os.open(f"/proc/{self.pid}/ns/net", flags)
        except BaseException:
            os.close(users)
            raise


def _write(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())  # at once: a second write is refused
        finally:
            os.close(fd)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise Unavailable(f"the kernel refused the ids {text.split()} of a user namespace: {reason}") from None
