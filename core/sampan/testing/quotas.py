"""The part of the storage drivers' suite that is about a limit for one container's root (``StorageFeatures.quota``)."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.drivers.storage import StorageDriver
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.testing.plugin import lacking
from sampan.testing.roots import Root, a_system, add_layer, fresh_id, mounted, restarted

QUOTA = 16 << 20
"""Bytes, for the tests of limits."""


class QuotaTests:
    """A part of ``StorageDriverTests``, which gives the fixture ``driver``."""

    def test_a_quota_holds_or_is_refused(self, driver: StorageDriver) -> None:
        container = fresh_id()
        if not driver.features().quota:
            with pytest.raises(Unsupported):
                driver.create(container, None, size=1 << 20)
            with pytest.raises(NotFound):
                driver.mount(container)
            return
        _limit(driver, container, add_layer(driver, a_system()))
        for _ in range(2):
            with mounted(driver, container) as root:
                with pytest.raises(OSError) as failure:  # noqa: PT011
                    (root / "large").write_bytes(bytes(2 * QUOTA))
                assert failure.value.errno == errno.ENOSPC
                (root / "large").unlink()
                (root / "small").write_bytes(bytes(QUOTA // 4))
            driver = restarted(driver)

    def test_a_quota_is_of_one_container(self, driver: StorageDriver) -> None:
        """Others on the same layer have theirs, or none; and the limited one is a root like any other."""
        self._needs_quota(driver)
        layer = add_layer(driver, a_system())
        limited, other = fresh_id(), fresh_id()
        _limit(driver, limited, layer)
        driver.create(other, layer)
        with mounted(driver, limited) as root, mounted(driver, other) as free:
            (free / "large").write_bytes(bytes(2 * QUOTA))
            (root / "etc/gone").unlink()
            before = driver.usage(limited)
            (root / "new").write_bytes(b"x" * (1 << 20))
            with (root / "new").open() as file:
                os.fsync(file.fileno())
            again = driver.mount(limited)
            try:
                assert (Root(again) / "new").stat().st_size == 1 << 20, "a second mount shows another file system"
            finally:
                os.close(again)
            assert 1 << 20 <= driver.usage(limited) - before < 2 << 20
        for _ in range(2):
            found = [(change.kind.value, change.path) for change in driver.changes(limited)]
            assert found == [("modified", "/etc"), ("deleted", "/etc/gone"), ("added", "/new")]
            driver = restarted(driver)

    @pytest.mark.parametrize("ephemeral", [False, True])
    def test_a_quota_leaves_nothing(self, driver: StorageDriver, ephemeral: bool) -> None:
        """No mount and no device, neither after use nor while in use in a way that would outlive us; the space of a
        removed or forgotten container is the host's again."""
        self._needs_quota(driver)
        removed, forgotten = fresh_id(), fresh_id()
        for container in (removed, forgotten):
            _limit(driver, container, None, ephemeral=ephemeral)
            with mounted(driver, container) as root:
                (root / "file").write_bytes(secrets.token_bytes(QUOTA // 2))
                assert "/dev/loop" not in _mounts_of(driver.host.data_root), "the limit shows as a mount on the host"
        driver.remove(removed)
        driver = restarted(driver)
        driver.restore([], [])
        for container in (removed, forgotten):
            with pytest.raises(NotFound):
                driver.usage(container)
        large = [path for path in driver.host.data_root.rglob("*") if path.is_file() and path.stat().st_size >= 1 << 20]
        assert not large, "a removed container still takes space"
        _eventually(lambda: not _devices_of(driver.host.data_root), "a loop device was left behind")

    @pytest.mark.parametrize("size", [-1, 0, 1, 1 << 62])
    def test_impossible_quotas_are_refused(self, driver: StorageDriver, size: int) -> None:
        self._needs_quota(driver)
        container = fresh_id()
        with pytest.raises(Invalid):
            driver.create(container, None, size=size)
        with pytest.raises(NotFound):
            driver.mount(container)

    @staticmethod
    def _needs_quota(driver: StorageDriver) -> None:
        if not driver.features().quota:
            pytest.skip("this driver cannot limit a container's size")


def _limit(driver: StorageDriver, container: str, layer: str | None, *, ephemeral: bool = False) -> None:
    """A limited root; a host that lacks what this driver needs for it cannot be tested."""
    try:
        driver.create(container, layer, size=QUOTA, ephemeral=ephemeral)
    except Unsupported as error:
        lacking(error.message)


def _mounts_of(root: Path) -> str:
    return "".join(line for line in Path("/proc/self/mountinfo").open() if str(root) in line)


def _devices_of(root: Path) -> list[str]:
    """Loop devices whose files lie below ``root``."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # gone meanwhile
            found.append(path.read_text().strip())
    return [file for file in found if file.startswith(f"{root}/")]


def _eventually(condition: Callable[[], bool], otherwise: str) -> None:
    """The kernel takes some things away a moment after their last user."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)
