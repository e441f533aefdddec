"""The network drivers' suite on what they tell ``sampan doctor``."""

from __future__ import annotations

from collections.abc import Callable

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Finding, NetworkFeatures
from sampan.testing.places import Net
from sampan.testing.wires import Namespace, links, rules


class LookTests:
    """A part of :class:`sampan.testing.network.NetworkDriverTests`, which has the fixtures."""

    def test_what_is_right_is_not_called_wrong_and_looking_changes_nothing(
        self, driver: NetworkDriver, features: NetworkFeatures, make: Callable[..., Net], world: Namespace
    ) -> None:
        net = make()
        before = (set(links(world)), rules())
        found = list(driver.examine(net.spec))
        assert (set(links(world)), rules()) == before
        if features.sandbox == "own":
            place = net.join()
            if features.publish:
                place.publish(8080)
            before = (set(links(world)), rules())
            found += driver.examine(net.spec, place.endpoint, place.ports)
            assert (set(links(world)), rules()) == before
        assert all(isinstance(one, Finding) for one in found)
        assert [one.says for one in found if one.mark == "wrong"] == []

    def test_what_was_never_made_can_be_looked_at(self, driver: NetworkDriver) -> None:
        """Without an error, and whatever is found has a remedy."""
        net = Net(driver, 7)
        found = driver.examine(net.spec, net.endpoint())
        assert all(one.says and one.remedy for one in found if one.mark == "wrong")
