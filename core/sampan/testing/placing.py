"""The part of the storage drivers' suite that is about layers that are filled before anybody knows what they are
(``StorageFeatures.places``)."""

from __future__ import annotations

import pytest

from sampan.drivers.storage import StorageDriver
from sampan.errors import Conflict, Invalid, NotFound
from sampan.testing.archives import Archive
from sampan.testing.roots import a_system, add_layer, fresh_id, mounted, restarted

HOSTILE_IDS = (
    "",
    ".",
    "..",
    "../" * 8 + "tmp",
    "a/b",
    "/etc",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "g" * 64,
    "a" * 64 + "\n",
    "a" * 31 + "\0" + "a" * 32,
)


class PlacingTests:
    """A part of ``StorageDriverTests``, which gives the fixture ``driver``."""

    @pytest.fixture
    def draft(self, driver: StorageDriver) -> str:
        """A layer that was begun and filled before anybody knew what it is."""
        if not driver.features().places:
            pytest.skip("the driver has not the feature 'places'")
        begun = fresh_id()
        Archive().file("above", b"placed").file("etc/.wh.gone").unpack(driver, driver.begin_layer(begun, None))
        return begun

    def test_a_filled_layer_is_given_its_place(self, driver: StorageDriver, draft: str) -> None:
        lower, layer, container = add_layer(driver, a_system()), fresh_id(), fresh_id()
        (driver.begin_layer(layer, lower) / "earlier").touch()
        driver.place_layer(draft, layer, lower)
        assert driver.layers() == {lower}, "a layer exists before it is committed"
        driver.commit_layer(layer)
        with pytest.raises(Conflict):
            driver.remove_layer(lower)
        other = restarted(driver)
        assert other.layers() == {lower, layer}
        other.create(container, layer)
        with mounted(other, container) as root:
            assert (root / "above").read_bytes() == b"placed"
            assert (root / "etc/name").read_bytes() == b"lower", "the layer does not stand on its parent"
            assert "gone" not in root.names("etc"), "what the layer hides is seen"
            assert "earlier" not in root.names(), "what was begun before is part of the layer"

    def test_what_was_placed_is_begun_under_one_name(self, driver: StorageDriver, draft: str) -> None:
        layer = fresh_id()
        driver.place_layer(draft, layer, None)
        with pytest.raises(NotFound):
            driver.commit_layer(draft)
        with pytest.raises(NotFound):
            driver.place_layer(draft, fresh_id(), None)
        driver.remove_layer(draft)
        driver.commit_layer(layer)
        assert driver.layers() == {layer}

    def test_a_place_that_cannot_be_had_is_refused(self, driver: StorageDriver, draft: str) -> None:
        taken, layer = add_layer(driver, Archive().file("kept")), fresh_id()
        for begun, name, parent, kind in (
            (draft, taken, None, Conflict),
            (draft, layer, fresh_id(), NotFound),
            (fresh_id(), layer, None, NotFound),
        ):
            with pytest.raises(kind):
                driver.place_layer(begun, name, parent)
            with pytest.raises(NotFound):
                driver.commit_layer(layer)
        for ident in HOSTILE_IDS:
            for names in ((ident, layer, None), (draft, ident, None), (draft, layer, ident)):
                with pytest.raises((Invalid, NotFound)):
                    driver.place_layer(*names)
        driver.place_layer(draft, layer, taken)
        driver.commit_layer(layer)
        assert driver.layers() == {taken, layer}
