"""The btrfs driver keeps the promises of the storage contract, and some of its own."""

import os
import struct
from fcntl import ioctl

import pytest
from sampan_btrfs.driver import Btrfs

from sampan.testing.roots import fresh_id, mounted
from sampan.testing.storage import StorageDriverTests


class TestBtrfs(StorageDriverTests):
    driver_name = "btrfs"

    @pytest.fixture
    def driver(self, sampan_host):
        return Btrfs(sampan_host, Btrfs.Options(gib=2))

    def test_subvolumes_that_a_container_made_are_removed_with_it(self, driver):
        container = fresh_id()
        driver.create(container, None)
        with mounted(driver, container) as root:
            inside = os.open(root / ".", os.O_RDONLY)
            ioctl(inside, 0x5000940E, bytearray(struct.pack("=q4088s", 0, b"mine")))
            os.close(inside)
            (root / "mine" / "file").write_text("x")
        driver.remove(container)
        assert driver.restore([], []) is None
