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
from sampan.linux import links, mounts, netns, sysctl
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


class Sandboxes:
    """Thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready: deque[int] = deque()
        self._short = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, running: Mapping[str, int]) -> None:
        """Keep the sandboxes of ``running`` containers (id → pid of its init), remove all others."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        for path in self._directory.iterdir():
            if path.name not in running:
                self.remove(path.name)
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
            os.close(self._ready.popleft())

    def path(self, container: str) -> Path:
        return self._directory / container

    def existing(self, container: str) -> Path:
        """The sandbox of a running container; ``NotFound`` if it has none."""
        if not self._mounted(self.path(container)):
            raise NotFound(f"container {container[:12]} has no network namespace of its own")
        return self.path(container)

    def take(self, container: str) -> Path:
        """A sandbox for the container, lo up, nothing else in it."""
        try:
            namespace = self._ready.popleft()
        except IndexError:
            namespace = _make()
        self._short.set()
        try:
            self.remove(container)
            self._mount(Path(f"/proc/thread-self/fd/{namespace}"), self.path(container))
        except OSError as error:
            raise Unavailable(f"the network namespace could not be put at {self.path(container)}: {error}") from None
        finally:
            os.close(namespace)
        return self.path(container)

    def remove(self, container: str) -> None:
        """Idempotent."""
        path = self.path(container)
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
                    self._ready.append(_make())
            except (OSError, SampanError) as error:
                log.error("no network namespace could be made ahead: %s", error)


def _make() -> int:
    return netns.create(_prepare)


def _prepare() -> None:
    with Netlink() as netlink:
        netlink.run(links.change("lo"))
    for name, value in _SETTINGS.items():
        with contextlib.suppress(Unavailable):  # IPv6 is not in every kernel
            sysctl.write(name, value)
