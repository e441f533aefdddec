"""What a container changed and what that takes: the part of the storage suite for ``changes`` and ``usage``."""

from __future__ import annotations

import os
import secrets

from sampan.drivers.storage import StorageDriver
from sampan.drivers.types import Change, ChangeKind
from sampan.testing.archives import Archive
from sampan.testing.roots import add_layer, fresh_id, mounted


class ChangeTests:
    """For suites with the fixtures ``driver`` and ``container``."""

    def test_an_untouched_root_has_no_changes(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            (root / "etc/name").read_bytes()
        assert list(driver.changes(container)) == []

    def test_changes_are_told_sorted_with_their_directories(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            (root / "etc/name").write_bytes(b"longer than it was")
            (root / "etc/gone").unlink()
            (root / "new").mkdir()
            (root / "new/file").touch()
            (root / "sticky").chmod(0o700)
        assert [(change.kind.value, change.path) for change in driver.changes(container)] == [
            ("modified", "/etc"),
            ("deleted", "/etc/gone"),
            ("modified", "/etc/name"),
            ("added", "/new"),
            ("added", "/new/file"),
            ("modified", "/sticky"),
        ]

    def test_changes_tell_of_a_directory_made_anew(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            (root / "dir/one").unlink()
            (root / "dir/two").unlink()
            (root / "dir").rmdir()
            (root / "dir").mkdir()
            (root / "dir/three").touch()
        assert [(change.kind.value, change.path) for change in driver.changes(container)] == [
            ("modified", "/dir"),
            ("deleted", "/dir/one"),
            ("added", "/dir/three"),
            ("deleted", "/dir/two"),
        ]

    def test_changes_tell_of_a_file_that_became_a_directory(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            (root / "link").unlink()
            (root / "link").mkdir()
            (root / "link/file").touch()
        found = [(change.kind.value, change.path) for change in driver.changes(container)]
        assert found == [("modified", "/link"), ("added", "/link/file")]

    def test_changes_keep_names_that_are_not_utf8(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            (root / os.fsdecode(b"\xff\xfe")).touch()
        assert list(driver.changes(container)) == [Change("/" + os.fsdecode(b"\xff\xfe"), ChangeKind.ADDED)]

    def test_usage_grows_by_what_is_written(self, driver: StorageDriver, container: str) -> None:
        before = driver.usage(container)
        with mounted(driver, container) as root:
            (root / "large").write_bytes(secrets.token_bytes(1 << 20))
            with (root / "large").open() as file:
                os.fsync(file.fileno())
        assert 1 << 20 <= driver.usage(container) - before < 2 << 20

    def test_usage_leaves_out_the_layers_below(self, driver: StorageDriver) -> None:
        """Of what an upper layer hides, nothing is the root's own, not even where a root begins as a copy."""
        lower = add_layer(driver, Archive().file("large", secrets.token_bytes(4 << 20)))
        container = fresh_id()
        driver.create(container, add_layer(driver, Archive().file(".wh.large"), lower))
        assert driver.usage(container) < 1 << 20, "what the layers below it take was counted"
