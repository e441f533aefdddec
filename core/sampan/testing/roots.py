"""What tests of storage do again and again: make layers, mount roots, start the driver anew."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.drivers.storage import StorageDriver
from sampan.linux import mounts, namespaces
from sampan.testing.archives import Archive


def fresh_id() -> str:
    """An id as the engine makes them."""
    return secrets.token_hex(32)


def restarted(driver: StorageDriver) -> StorageDriver:
    """The driver as the daemon's next start makes it: nothing but the disk remembers."""
    return type(driver)(driver.host, driver.options)


def add_layer(driver: StorageDriver, archive: Archive, parent: str | None = None) -> str:
    """A committed layer with the content of ``archive``; returns its id."""
    layer = fresh_id()
    archive.unpack(driver, driver.begin_layer(layer, parent))
    driver.commit_layer(layer)
    return layer


class Root:
    """A mounted root, used through its descriptor alone, as a monitor would."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.path = Path(f"/proc/self/fd/{fd}")

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def names(self, where: str = "") -> set[str]:
        return {entry.name for entry in (self.path / where).iterdir()}


@contextmanager
def mounted(driver: StorageDriver, container: str) -> Iterator[Root]:
    fd = driver.mount(container)
    try:
        yield Root(fd)
    finally:
        os.close(fd)
        driver.unmount(container)


def mount_id(fd: int) -> str:
    """The kernel's number of the mount that a descriptor is of (proc_pid_fdinfo(5))."""
    [found] = [line for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if line.startswith("mnt_id:")]
    return found.split()[1]


def attached(fd: int, target: Path) -> set[str]:
    """Attach the mount of ``fd``, and tell what is seen there then. For a thread that ends afterwards: the mount
    namespace in which it is done is the thread's own, and goes with it."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount("none", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.attach(fd, target)
    return {entry.name for entry in target.iterdir()}


def a_system() -> Archive:
    """A small layer with one of everything."""
    archive = Archive()
    archive.directory("etc").file("etc/name", b"lower").file("etc/gone", b"to be deleted")
    archive.directory("dir").file("dir/one", b"1").file("dir/two", b"2")
    archive.directory("sticky", mode=0o1777).file("tool", b"#!", mode=0o4755, uid=3, gid=4, mtime=1_000_000_000)
    return archive.hard_link("tool2", "tool").symlink("link", "etc/name").fifo("pipe")
