"""The egress driver keeps the promises of the network contract, and its own: the list is what is reached."""

import threading
import time

import msgspec
import pytest
from sampan_egress.allowed import Allowed, check
from sampan_egress.driver import ALLOW, Egress

from sampan.errors import Invalid
from sampan.testing.network import HOST_ADDRESS, OUTSIDE_ADDRESS, NetworkDriverTests
from sampan.testing.places import Net, awake
from sampan.testing.wires import Server, ask, silent


class TestEgress(NetworkDriverTests):
    driver_name = "egress"

    @pytest.fixture
    def driver(self, host):
        return Egress(host, Egress.Options())

    def on(self, driver, allow):
        net = Net(driver, 1)
        net.spec = msgspec.structs.replace(net.spec, options={ALLOW: allow})
        driver.validate(net.spec)
        driver.create_network(net.spec)
        return awake(net.join())

    def test_what_is_on_the_list_is_reached_and_nothing_else(self, driver, outside, world):
        outside.ip("address", "add", "203.0.113.9/32", "dev", "lo")
        world.ip("route", "add", "203.0.113.9/32", "via", OUTSIDE_ADDRESS)
        place = self.on(driver, f"{OUTSIDE_ADDRESS}, 192.0.2.0/24")
        with Server(outside, 80), Server(world, 81):
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80) == HOST_ADDRESS
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80, protocol="udp") == HOST_ADDRESS
            assert silent(place.sandbox, "203.0.113.9", 80)
            assert silent(place.sandbox, HOST_ADDRESS, 81)
            assert silent(place.sandbox, place.net.spec.subnets[0].gateway, 81)

    def test_a_name_is_as_good_as_its_addresses_and_follows_them(self, driver, outside, monkeypatch):
        answers = [[], [OUTSIDE_ADDRESS], [OUTSIDE_ADDRESS]]
        monkeypatch.setattr(Allowed.__init__, "__defaults__", (lambda name: answers.pop(0) if answers else [], None))
        place = self.on(driver, "service.example")
        with Server(outside, 80):
            assert silent(place.sandbox, OUTSIDE_ADDRESS, 80)
            driver.refresh()
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80) == HOST_ADDRESS
            driver.refresh()
            driver.refresh()
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80), "an address is forgotten at the first silence of its name"

    def test_a_driver_that_starts_without_a_resolver_cuts_nobody_off(self, driver, outside, monkeypatch):
        answers = {"service.example": [OUTSIDE_ADDRESS]}
        monkeypatch.setattr(Allowed.__init__, "__defaults__", (lambda name: answers.get(name, []), None))
        place = self.on(driver, "service.example")
        answers.clear()
        again = self.afresh(driver)
        again.restore({place.net.spec.id: place.net.spec}, [place.joined()])
        with Server(outside, 80):
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80) == HOST_ADDRESS
        again.leave(place.net.spec, place.endpoint, place.sandbox.path)
        again.remove_network(place.net.spec)
        assert not list(driver.host.data_root.glob("*")), "what was remembered outlives its network"

    def test_addresses_of_a_name_that_is_on_the_list_no_more_are_not_taken_over(self):
        seen = {"old.example": {"192.0.2.1": time.time()}, "new.example": {"192.0.2.2": time.time()}}
        allowed = Allowed(["new.example"], 60, lambda name: [], seen)
        allowed.refresh()
        assert allowed.subnets(4) == ["192.0.2.2/32"]

    def test_an_address_is_forgotten_in_the_end(self):
        answers = [["192.0.2.1"], ["192.0.2.2"]]
        allowed = Allowed(["a.example", "198.51.100.7/24"], 0, lambda name: answers.pop(0))
        allowed.refresh()
        assert allowed.subnets(4) == ["192.0.2.1/32", "198.51.100.0/24"]
        allowed.refresh()
        assert allowed.subnets(4) == ["192.0.2.2/32", "198.51.100.0/24"]

    def test_a_resolver_that_is_silent_holds_up_nothing_else(self, monkeypatch):
        monkeypatch.setattr("sampan_egress.allowed.PATIENCE", 0.2)
        silence = threading.Event()
        names = [f"{number}.example" for number in range(10)]
        allowed = Allowed(
            [*names, "good.example"], 60, lambda name: ["192.0.2.1"] if name[0] == "g" else [str(silence.wait())]
        )
        began = time.monotonic()
        allowed.refresh()
        assert allowed.subnets(4) == ["192.0.2.1/32"]
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("entry", ["a b", "10.0.0.0/99", "300.1.1.1", "-x.example", "a/b", 'x" drop', "{x}", ""])
    def test_what_cannot_be_allowed_is_named(self, driver, entry):
        with pytest.raises(Invalid, match="cannot be allowed"):
            check(entry)
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"allow": [entry]}, Egress.Options)
