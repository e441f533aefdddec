"""Sandboxes: containers' network namespaces, each a file ``netns/CONTAINER`` under the exec root (ip-netns(8)).

Making a namespace takes a millisecond, so a few are kept ready. Those have no file: they are descriptors of the
daemon, and vanish with it. Taking a file away is quick; the kernel then ends the namespace and the links in it when
it finds the time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from sampan.errors import NotFound, SampanError, Unavailable
from sampan.linux import links, mounts, netns, sysctl, userns
from sampan.linux.idmaps import SAME, IdMap
from sampan.linux.netlink import Netlink

log = logging.getLogger(__name__)

READY = 4
_PAUSE = 0.02  # seconds before namespaces are made ahead: the start that took one goes first

# As Docker: any user may ping, and any port may be bound (https://docs.docker.com/engine/release-notes/20.10/).
# IPv6 is for interfaces that have such an address; their driver turns it on.
_SETTINGS = {
    "net/ipv4/ping_group_range": "0\t2147483647",
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv6/conf/default/disable_ipv6": "1",
}


Users = Path | bool
"""The user namespace of a container: its file if it is another's, else whether it has one of its own."""

_NONE = -1
_HOSTS = "default"


class Sandboxes:
    """Thread-safe. ``directory`` is for network namespaces, ``users`` for the user namespaces that own them; ``ids``
    are the latter's."""

    def __init__(self, directory: Path, users: Path, ids: IdMap = SAME) -> None:
        self._directory = directory
        self._users = users
        self._directories = [directory, users] if ids else [directory]
        self._ids = ids
        self._ready: deque[tuple[int, int]] = deque()  # with the user namespace, or _NONE
        self._short = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, running: Mapping[str, int]) -> None:
        """Keep the sandboxes of ``running`` containers (id → pid of its init), remove all others."""
        for directory in self._directories:
            directory.mkdir(parents=True, exist_ok=True, mode=0o711)
            for path in directory.iterdir():
                if path.name not in running:
                    self.remove(path.name)
        with contextlib.suppress(OSError):  # nobody depends on it, so it is no mount that somebody has to remove
            self.hosts.symlink_to(f"/proc/{os.getpid()}/ns/net")
        for container, pid in running.items():
            if pid and not self._mounted(self.path(container)):
                with contextlib.suppress(OSError):
                    self._mount(Path(f"/proc/{pid}/ns/net"), self.path(container))
        self._thread = threading.Thread(target=self._refill, name="sandboxes", daemon=True)
        self._short.set()
        self._thread.start()

    def close(self) -> None:
        """Let go of those that were kept ready; those in use stay."""
        self._closing.set()
        self._short.set()
        if self._thread:
            self._thread.join(5.0)
        while self._ready:
            _close(self._ready.popleft())
        self.remove(_HOSTS)

    def users(self, container: str) -> Path:
        """Where the user namespace is from :meth:`take` to :meth:`remove`."""
        return self._users / container

    @property
    def hosts(self) -> Path:
        """The host's own network namespace, where containers with the network ``host`` live; Docker calls it so."""
        return self.path(_HOSTS)

    def path(self, container: str) -> Path:
        return self._directory / container

    def existing(self, container: str) -> Path:
        """The sandbox of a running container; ``NotFound`` if it has none."""
        if not self._mounted(self.path(container)):
            raise NotFound(f"container {container[:12]} has no network namespace of its own")
        return self.path(container)

    def take(self, container: str, users: Users = False) -> Path:
        """A sandbox for the container, lo up, nothing else in it."""
        made = self._take(users)
        try:
            self.remove(container)
            for namespace, path in zip(made, (self.users(container), self.path(container)), strict=True):
                if namespace != _NONE:
                    self._mount(Path(f"/proc/thread-self/fd/{namespace}"), path)
        except OSError as error:
            raise Unavailable(f"the network namespace could not be put at {self.path(container)}: {error}") from None
        finally:
            _close(made)
        return self.path(container)

    def _take(self, users: Users) -> tuple[int, int]:
        if isinstance(users, Path):
            return _prepared(*userns.create_network(users))
        if users != bool(self._ids):
            return _make(SAME)  # the rare kind, which is not kept ready
        try:
            return self._ready.popleft()
        except IndexError:
            return _make(self._ids)
        finally:
            self._short.set()

    def remove(self, container: str) -> None:
        """Idempotent."""
        for directory in self._directories:
            path = directory / container
            with contextlib.suppress(OSError):
                mounts.detach(path)
            path.unlink(missing_ok=True)

    def _mount(self, source: Path, path: Path) -> None:
        path.touch(mode=0o444)
        try:
            mounts.mount(str(source), path, None, mounts.MS_BIND)
        except OSError:
            path.unlink()
            raise

    def _mounted(self, path: Path) -> bool:
        """A namespace's file is on a file system of the kernel's own (nsfs), not on that of the directory."""
        try:
            return path.stat().st_dev != self._directory.stat().st_dev
        except FileNotFoundError:
            return False

    def _refill(self) -> None:
        while not self._closing.is_set():
            self._short.wait()
            if self._closing.wait(_PAUSE):
                return
            self._short.clear()
            try:
                while len(self._ready) < READY and not self._closing.is_set():
                    self._ready.append(_make(self._ids))
            except (OSError, SampanError) as error:
                log.error("no network namespace could be made ahead: %s", error)


def _make(ids: IdMap) -> tuple[int, int]:
    """Descriptors of the user namespace (or ``_NONE``) and of the network namespace."""
    return _prepared(*userns.create(ids)) if ids else (_NONE, netns.create(_prepare))


def _prepared(users: int, network: int) -> tuple[int, int]:
    try:
        netns.inside(network, _prepare)
    except BaseException:
        _close((users, network))
        raise
    return users, network


def _close(namespaces: tuple[int, int]) -> None:
    for fd in namespaces:
        if fd != _NONE:
            os.close(fd)


def _prepare() -> None:
    with Netlink() as netlink:
        netlink.run(links.change("lo"))
    for name, value in _SETTINGS.items():
        with contextlib.suppress(Unavailable):  # IPv6 is not in every kernel
            sysctl.write(name, value)
