"""The built-in storage drivers, through the same suite as anyone's."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sampan.drivers.types import Host
from sampan.linux import projects
from sampan.testing.storage import StorageDriverTests
from sampan_storage import disks
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


@contextmanager
def xfs(directory: Path) -> Iterator[Path]:
    """A file system with project quotas, mounted. Skips where nobody can make one, or this kernel has none."""
    maker = shutil.which("mkfs.xfs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if maker is None:
        pytest.skip("there is no mkfs.xfs here (xfsprogs)")
    image, place = directory / "image", directory / "xfs"
    with image.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run([maker, "-q", image], check=True)
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop,prjquota", image, place], check=False, capture_output=True).returncode:
        pytest.skip("this kernel has no XFS with project quotas")
    try:
        assert projects.enforced(place)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="session")
def there_is_xfs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tried once: most machines that skip would take long to find that out for each test."""
    with xfs(tmp_path_factory.mktemp("tried")):
        pass


@pytest.fixture
def xfs_host(there_is_xfs: None, sampan_host: Host, tmp_path: Path) -> Iterator[Host]:
    with xfs(tmp_path) as place:
        yield Host(instance=sampan_host.instance, data_root=place / "data", exec_root=sampan_host.exec_root)


@pytest.mark.root
class TestOverlayfsOnXfs(StorageDriverTests):
    driver_name = "overlayfs"

    @pytest.fixture
    def driver(self, xfs_host: Host) -> Overlayfs:
        return Overlayfs(xfs_host, Overlayfs.Options())

    def test_a_limit_is_a_project_and_goes_with_it(self, driver: Overlayfs) -> None:
        one, other, killed = "1" * 64, "2" * 64, "3" * 64
        places = {each: driver.host.data_root / "containers" / each for each in (one, other, killed)}
        for each in places:
            driver.create(each, None, size=16 << 20)
        numbers = {each: projects.of(place) for each, place in places.items()}
        assert len(set(numbers.values()) - {0}) == 3
        assert not [place for place in places.values() if disks.present(place)]
        driver.remove(one)
        driver.restore((), (other,))
        deadline = time.monotonic() + 30  # removed files are given back behind our back

        def used() -> set[str]:
            return {each for each, number in numbers.items() if projects.used(places[other], number)}

        while used() != {other}:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.root
class TestVfsOnXfs(StorageDriverTests):
    driver_name = "vfs"

    @pytest.fixture
    def driver(self, xfs_host: Host) -> Vfs:
        return Vfs(xfs_host, Vfs.Options())
