"""The conformance suite for storage drivers: every promise of :class:`sampan.drivers.storage.StorageDriver`, tried.

A driver's author writes::

    from sampan.testing.storage import StorageDriverTests

    class TestMine(StorageDriverTests):
        driver_name = "mine"

        @pytest.fixture
        def driver(self, sampan_host):
            return Mine(sampan_host, Mine.Options())

The fixture gives a driver over roots that nobody used before. What the driver's ``features()`` leave out is skipped.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from sampan.drivers.storage import StorageDriver
from sampan.drivers.types import CONTRACT_VERSION, Change, ChangeKind
from sampan.errors import Conflict, Invalid, NotFound
from sampan.testing.archives import Archive
from sampan.testing.changes import ChangeTests
from sampan.testing.placing import HOSTILE_IDS, PlacingTests
from sampan.testing.plugin import lacking
from sampan.testing.quotas import QuotaTests
from sampan.testing.roots import Root, a_system, add_layer, attached, fresh_id, mount_id, mounted, restarted


class StorageDriverTests(ChangeTests, PlacingTests, QuotaTests):
    """Subclass it and give it a ``driver``."""

    family: ClassVar[str] = "storage"
    driver_name: ClassVar[str] = ""
    needs_root: ClassVar[bool] = True

    @pytest.fixture
    def driver(self) -> StorageDriver:
        raise NotImplementedError("a subclass of StorageDriverTests gives the fixture 'driver'")

    @pytest.fixture(autouse=True)
    def _on_a_fit_host(self, request: pytest.FixtureRequest) -> None:
        if self.needs_root:
            request.getfixturevalue("sampan_root")
        check = request.getfixturevalue("driver").check()
        if not check.usable:
            lacking(check.reason)

    @pytest.fixture
    def container(self, driver: StorageDriver) -> str:
        """A container on top of :func:`a_system`."""
        container = fresh_id()
        driver.create(container, add_layer(driver, a_system()))
        return container

    # ── the driver as such ─────────────────────────────────────────────────────────────────────────────────────

    def test_it_is_written_for_this_contract(self, driver: StorageDriver) -> None:
        assert driver.contract == CONTRACT_VERSION

    def test_making_and_checking_a_driver_leaves_nothing(self, driver: StorageDriver) -> None:
        """The constructor touches neither disk nor kernel, and what check() tries is gone afterwards."""
        assert driver.check().usable
        assert not driver.host.data_root.exists(), "a root appeared before the first layer was begun"

    def test_features_are_constant(self, driver: StorageDriver) -> None:
        assert driver.features() == driver.features() == restarted(driver).features()
        assert driver.features().whiteouts in ("in-place", "overlay")

    def test_unknown_options_are_refused(self, driver: StorageDriver) -> None:
        import msgspec

        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"no such option": 1}, driver.Options)

    @pytest.mark.parametrize("ident", HOSTILE_IDS)
    def test_hostile_ids_are_invalid(self, driver: StorageDriver, ident: str) -> None:
        """An id becomes part of a path, so nothing but 64 hex digits may pass."""
        good = add_layer(driver, Archive())
        calls: list[Callable[[], object]] = [
            lambda: driver.begin_layer(ident, None),
            lambda: driver.begin_layer(fresh_id(), ident),
            lambda: driver.commit_layer(ident),
            lambda: driver.remove_layer(ident),
            lambda: driver.create(ident, good),
            lambda: driver.create(fresh_id(), ident),
            lambda: driver.mount(ident),
            lambda: driver.remove(ident),
            lambda: list(driver.changes(ident)),
            lambda: driver.usage(ident),
        ]
        for call in calls:
            with pytest.raises((Invalid, NotFound)):
                call()
        assert driver.layers() == {good}

    def test_refusals_name_what_they_refuse(self, driver: StorageDriver) -> None:
        """An error's message is all that a person will see."""
        layer, container = fresh_id(), fresh_id()
        refused: list[tuple[str, Callable[[], object]]] = [
            (layer, lambda: driver.commit_layer(layer)),
            (layer, lambda: driver.create(container, layer)),
            (container, lambda: driver.mount(container)),
        ]
        for name, call in refused:
            with pytest.raises(NotFound) as refusal:
                call()
            said = refusal.value.message
            assert name[:12] in said, f"the refusal {said!r} does not name {name[:12]}"
            assert len(said.splitlines()) == 1, f"the refusal {said!r} is not one sentence"

    # ── layers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_layer_begins_as_an_empty_directory_of_root(self, driver: StorageDriver) -> None:
        directory = driver.begin_layer(fresh_id(), None)
        status = directory.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), os.getegid(), 0o755)
        assert not list(directory.iterdir())

    def test_a_begun_layer_does_not_exist(self, driver: StorageDriver) -> None:
        layer = fresh_id()
        driver.begin_layer(layer, None)
        assert driver.layers() == set()
        with pytest.raises(NotFound):
            driver.begin_layer(fresh_id(), layer)
        with pytest.raises(NotFound):
            driver.create(fresh_id(), layer)

    def test_beginning_again_starts_afresh(self, driver: StorageDriver) -> None:
        layer = fresh_id()
        (driver.begin_layer(layer, None) / "half").touch()
        assert not list(driver.begin_layer(layer, None).iterdir())

    def test_committing_makes_a_layer_exist_and_may_be_repeated(self, driver: StorageDriver) -> None:
        layer = add_layer(driver, Archive())
        driver.commit_layer(layer)
        assert driver.layers() == {layer}
        assert restarted(driver).layers() == {layer}

    def test_committing_what_was_not_begun_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.commit_layer(fresh_id())

    def test_a_committed_layer_cannot_be_begun(self, driver: StorageDriver) -> None:
        layer = add_layer(driver, Archive().file("kept"))
        with pytest.raises(Conflict):
            driver.begin_layer(layer, None)
        assert driver.layers() == {layer}

    def test_a_layer_needs_its_parent(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.begin_layer(fresh_id(), fresh_id())

    def test_removing_layers_is_idempotent(self, driver: StorageDriver) -> None:
        committed, begun = add_layer(driver, a_system()), fresh_id()
        driver.begin_layer(begun, None)
        for layer in (committed, begun, fresh_id()) * 2:
            driver.remove_layer(layer)
        assert driver.layers() == set()
        with pytest.raises(NotFound):
            driver.commit_layer(begun)

    def test_a_layer_that_something_stands_on_stays(self, driver: StorageDriver) -> None:
        lower = add_layer(driver, Archive())
        upper = add_layer(driver, Archive(), lower)
        container = fresh_id()
        driver.create(container, upper)
        for layer in (lower, upper):
            with pytest.raises(Conflict):
                driver.remove_layer(layer)
        driver.remove(container)
        driver.remove_layer(upper)
        driver.remove_layer(lower)
        assert driver.layers() == set()

    def test_filling_a_layer_leaves_its_parent_alone(self, driver: StorageDriver) -> None:
        """Whatever is done in the directory: a committed layer never changes."""
        lower = add_layer(driver, a_system())
        directory = driver.begin_layer(fresh_id(), lower)
        if driver.features().whiteouts == "in-place":
            (directory / "etc/name").write_bytes(b"scribbled")
            (directory / "dir/one").unlink()
        (directory / "new").touch()
        container = fresh_id()
        driver.create(container, lower)
        with mounted(driver, container) as root:
            assert (root / "etc/name").read_bytes() == b"lower", "filling a layer wrote into its parent"
            assert root.names("dir") == {"one", "two"}, "filling a layer deleted in its parent"
            assert "new" not in root.names(), "filling a layer added to its parent"

    # ── what a container sees ──────────────────────────────────────────────────────────────────────────────────

    def test_a_root_shows_its_layer_with_all_attributes(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            tool = (root / "tool").stat()
            assert (root / "etc/name").read_bytes() == b"lower"
            assert (tool.st_mode & 0o7777, tool.st_uid, tool.st_gid) == (0o4755, 3, 4), "owner or set-uid bit was lost"
            assert tool.st_mtime == 1_000_000_000, "the time of modification was lost"
            assert (root / "tool2").stat().st_ino == tool.st_ino, "a hard link became a copy"
            assert str((root / "link").readlink()) == "etc/name"
            assert stat.S_ISFIFO((root / "pipe").lstat().st_mode)
            assert stat.S_IMODE((root / "sticky").stat().st_mode) == 0o1777

    def test_upper_layers_hide_lower_ones(self, driver: StorageDriver) -> None:
        """Replaced, deleted, emptied by an opaque directory, merged, and a type that changed."""
        second = Archive().file("etc/name", b"upper").file("etc/.wh.gone").directory("dir").file("dir/.wh..wh..opq")
        second.file("dir/three", b"3").directory("link").file("link/inside", b"x")
        container = fresh_id()
        driver.create(container, add_layer(driver, second, add_layer(driver, a_system())))
        with mounted(driver, container) as root:
            assert (root / "etc/name").read_bytes() == b"upper"
            assert root.names("etc") == {"name"}
            assert root.names("dir") == {"three"}
            assert root.names("link") == {"inside"}
            assert "tool" in root.names()

    def test_a_root_without_layers_is_empty(self, driver: StorageDriver) -> None:
        container = fresh_id()
        driver.create(container, None)
        with mounted(driver, container) as root:
            assert root.names() == set()
            (root / "new").write_bytes(b"x")
        assert list(driver.changes(container)) == [Change("/new", ChangeKind.ADDED)]

    def test_many_layers_can_be_mounted(self, driver: StorageDriver) -> None:
        """128 is what Docker allows."""
        layer = None
        for number in range(128):
            layer = add_layer(driver, Archive().file(f"file{number}", b"x"), layer)
        container = fresh_id()
        driver.create(container, layer)
        with mounted(driver, container) as root:
            assert len(root.names()) == 128

    def test_containers_change_neither_their_layer_nor_one_another(self, driver: StorageDriver) -> None:
        layer = add_layer(driver, a_system())
        one, other = fresh_id(), fresh_id()
        driver.create(one, layer)
        driver.create(other, layer)
        with mounted(driver, one) as root:
            (root / "etc/name").write_bytes(b"changed")
            (root / "etc/gone").unlink()
        with mounted(driver, other) as root:
            assert (root / "etc/name").read_bytes() == b"lower"
            assert root.names("etc") == {"name", "gone"}

    # ── mounting ───────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_mount_is_seen_by_nobody_else(self, driver: StorageDriver, container: str) -> None:
        """The descriptor is close-on-exec, and the host's mount table is as it was."""
        before = Path("/proc/self/mountinfo").read_text()
        with mounted(driver, container) as root:
            assert fcntl.fcntl(root.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
            assert Path("/proc/self/mountinfo").read_text() == before

    def test_a_mount_is_a_detached_one(self, driver: StorageDriver, container: str) -> None:
        """A directory's descriptor would show the same files; but nobody can attach it, and a mount that is in some
        table already outlives its descriptor."""
        with mounted(driver, container) as root:
            assert (root / "..").stat().st_ino == root.path.stat().st_ino, "it is a directory within some other mount"
            table = {line.split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
            assert mount_id(root.fd) not in table, "it is a mount that the host's mount table has"
            with ThreadPoolExecutor(1) as thread:  # in a namespace of its own, which ends with it
                assert "etc" in thread.submit(attached, root.fd, driver.host.data_root).result()

    @pytest.mark.parametrize("ephemeral", [False, True])
    def test_what_was_written_is_there_at_the_next_mount(self, driver: StorageDriver, ephemeral: bool) -> None:
        container = fresh_id()
        driver.create(container, add_layer(driver, a_system()), ephemeral=ephemeral)
        for number in range(3):
            with mounted(driver, container) as root:
                (root / f"file{number}").write_bytes(b"x")
                assert {f"file{earlier}" for earlier in range(number)} <= root.names()
        with mounted(restarted(driver), container) as root:
            assert "file2" in root.names(), "a restart of the daemon lost what was written"

    def test_two_mounts_at_once_show_the_same(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as one:
            fd = driver.mount(container)
            try:
                (one / "etc/name").write_bytes(b"by the first")
                assert (Root(fd) / "etc/name").read_bytes() == b"by the first"
            finally:
                os.close(fd)

    def test_a_mount_lives_by_its_descriptor_alone(self, driver: StorageDriver, container: str) -> None:
        """When the caller has closed it, the driver holds none of its own."""
        with mounted(driver, container):
            pass
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            with mounted(driver, container):
                pass
        after = len(list(Path("/proc/self/fd").iterdir()))
        assert after == before, f"{after - before} descriptors are still open after three mounts"

    def test_unmounting_is_idempotent(self, driver: StorageDriver, container: str) -> None:
        os.close(driver.mount(container))
        for _ in range(3):
            driver.unmount(container)
        driver.unmount(fresh_id())

    def test_what_was_not_created_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.mount(fresh_id())
        with pytest.raises(NotFound):
            list(driver.changes(fresh_id()))

    def test_where_a_root_lies_is_told_in_words(self, driver: StorageDriver, container: str) -> None:
        """Or nothing is told; not of what is not there."""
        told = driver.describe(container)
        assert all(isinstance(word, str) for pair in told.items() for word in pair)
        if told:
            with pytest.raises(NotFound):
                driver.describe(fresh_id())

    # ── creating and removing ──────────────────────────────────────────────────────────────────────────────────

    def test_creating_twice_is_a_conflict(self, driver: StorageDriver, container: str) -> None:
        with mounted(driver, container) as root:
            (root / "mine").touch()
        with pytest.raises(Conflict):
            driver.create(container, None)
        with mounted(driver, container) as root:
            assert "mine" in root.names()

    def test_a_root_needs_its_layer(self, driver: StorageDriver) -> None:
        container = fresh_id()
        with pytest.raises(NotFound):
            driver.create(container, fresh_id())
        with pytest.raises(NotFound):
            driver.mount(container)
        driver.create(container, add_layer(driver, Archive().file("whole")))
        with mounted(driver, container) as root:
            assert root.names() == {"whole"}, "what was left of a refused root is in the way of a good one"

    def test_removing_is_idempotent_and_complete(self, driver: StorageDriver, container: str) -> None:
        name = f"kit-{fresh_id()}"
        with mounted(driver, container) as root:
            (root / name).touch()
        for _ in range(2):
            driver.remove(container)
        with pytest.raises(NotFound):
            driver.mount(container)
        assert not list(driver.host.data_root.rglob(name)), "a removed container's file is still there"

    def test_a_root_of_any_depth_can_be_removed(self, driver: StorageDriver, container: str) -> None:
        """Deeper than a path can be long, which a container makes by going down step by step."""
        with mounted(driver, container) as root:
            here = os.open(root / "dir", os.O_PATH)
            for _ in range(1500):
                os.mkdir("deeper", dir_fd=here)
                here, above = os.open("deeper", os.O_PATH, dir_fd=here), here
                os.close(above)
            os.close(here)
        driver.remove(container)
        with pytest.raises(NotFound):
            driver.usage(container)

    # ── crashes and crowds ─────────────────────────────────────────────────────────────────────────────────────

    def test_restore_keeps_what_is_named_and_removes_the_rest(self, driver: StorageDriver) -> None:
        lower = add_layer(driver, a_system())
        kept, forgotten = add_layer(driver, Archive().file("x"), lower), add_layer(driver, Archive())
        containers = fresh_id(), fresh_id()
        for container in containers:
            driver.create(container, kept)
            with mounted(driver, container) as root:
                (root / "written").touch()
        half = fresh_id()
        (driver.begin_layer(half, kept) / f"half-{half}").touch()
        for _ in range(2):
            driver = restarted(driver)
            driver.restore({lower, kept, fresh_id()}, {containers[0], fresh_id()})
        assert driver.layers() == {lower, kept}
        assert forgotten not in driver.layers()
        with mounted(driver, containers[0]) as root:
            assert {"written", "x", "tool"} <= root.names()
        with pytest.raises(NotFound):
            driver.mount(containers[1])
        with pytest.raises(NotFound):
            driver.commit_layer(half)
        assert not list(driver.host.data_root.rglob(f"half-{half}")), "a half-made layer's file is still there"

    def test_restore_before_anything_was_made(self, driver: StorageDriver) -> None:
        driver.restore([], [])
        assert driver.layers() == set()

    @pytest.mark.parametrize("moment", [0.0, 0.2, 0.4, 0.6, 0.8])
    def test_a_killed_daemon_leaves_whole_layers_or_none(self, driver: StorageDriver, moment: float) -> None:
        """A process is killed while it makes layers, at some moment between the end of one and that of the next;
        every one that it reported is complete, and none is half there."""
        names = [fresh_id() for _ in range(64)]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            _make_layers_forever(driver, names, writing)
        os.close(writing)
        reported, began = os.read(reading, 1), time.monotonic()
        reported += os.read(reading, 1)
        time.sleep(moment * (time.monotonic() - began))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        reported += os.read(reading, 64)
        os.close(reading)
        driver = restarted(driver)
        driver.restore(names, [])
        assert set(names[: len(reported)]) <= driver.layers(), "a layer that was committed is gone"
        for layer in driver.layers():
            container = fresh_id()
            driver.create(container, layer)
            with mounted(driver, container) as root:
                assert len(root.names()) == 20, "a layer exists without all of its files"

    def test_different_layers_and_containers_at_once(self, driver: StorageDriver) -> None:
        base = add_layer(driver, a_system())

        def work(number: int) -> str:
            layer = add_layer(driver, Archive().file(f"own{number}", b"x"), base)
            container = fresh_id()
            driver.create(container, layer, ephemeral=bool(number % 2))
            with mounted(driver, container) as root:
                (root / "written").write_bytes(b"%d" % number)
                assert {f"own{number}", "tool", "written"} <= root.names()
            assert [change.path for change in driver.changes(container)] == ["/written"]
            driver.remove(container)
            return layer

        with ThreadPoolExecutor(8) as pool:
            layers = list(pool.map(work, range(32)))
            assert driver.layers() == {*layers, base}
            going = [pool.submit(driver.remove_layer, layer) for layer in layers]
            coming = [pool.submit(work, number) for number in range(8)]
            made = {each.result() for each in coming}
            assert not any(each.result() for each in going)
        assert driver.layers() == {base, *made}


def _make_layers_forever(driver: StorageDriver, names: list[str], report: int) -> None:
    try:
        for name in names:
            directory = driver.begin_layer(name, None)
            for number in range(20):
                (directory / f"file{number}").touch()
            driver.commit_layer(name)
            os.write(report, b".")
    finally:
        os._exit(0)
