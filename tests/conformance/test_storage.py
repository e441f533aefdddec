"""The built-in storage drivers, through the same suite as anyone's."""

from __future__ import annotations

import pytest

from sampan.drivers.types import Host
from sampan.testing.storage import StorageDriverTests
from sampan_storage.overlayfs import Overlayfs
from sampan_storage.vfs import Vfs


@pytest.mark.root
class TestOverlayfs(StorageDriverTests):
    driver_name = "overlayfs"

    @pytest.fixture
    def driver(self, sampan_host: Host) -> Overlayfs:
        return Overlayfs(sampan_host, Overlayfs.Options())


@pytest.mark.root
class TestVfs(StorageDriverTests):
    driver_name = "vfs"

    @pytest.fixture
    def driver(self, sampan_host: Host) -> Vfs:
        return Vfs(sampan_host, Vfs.Options())
