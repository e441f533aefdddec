"""The conformance suite for network drivers.

Subclass it and give a fixture::

    class TestMine(NetworkDriverTests):
        driver_name = "mine"

        @pytest.fixture
        def driver(self, host: Host) -> NetworkDriver:
            return Mine(host, Mine.Options())

Each test runs in a network namespace of its own that plays the host, with another one, ``outside``, on a cable. What a
driver promises is proven by links and packets, never by what it says. Tests of features that it lacks are skipped.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from sampan.drivers import NetworkDriver
from sampan.drivers.types import CONTRACT_VERSION, Host, NetworkFeatures, NetworkSpec
from sampan.errors import Conflict, Invalid, Unsupported
from sampan.testing import wires
from sampan.testing.beyond import WORLD, Beyond, BeyondTests
from sampan.testing.looks import LookTests
from sampan.testing.places import Net, Place, awake
from sampan.testing.plugin import lacking
from sampan.testing.published import PublishedPortTests
from sampan.testing.ways import WayOutTests, addressed
from sampan.testing.wires import HOST_ADDRESS as HOST_ADDRESS
from sampan.testing.wires import HOST_ADDRESS_6 as HOST_ADDRESS_6
from sampan.testing.wires import OUTSIDE_ADDRESS as OUTSIDE_ADDRESS
from sampan.testing.wires import OUTSIDE_ADDRESS_6 as OUTSIDE_ADDRESS_6
from sampan.testing.wires import Namespace, Server, ask, links, rules, silent

INSTANCE = "5a3b9c01"


@pytest.mark.usefixtures("sampan_root")
class NetworkDriverTests(BeyondTests, LookTests, WayOutTests, PublishedPortTests):
    """What every network driver promises (see :mod:`sampan.drivers.network`)."""

    family: ClassVar[str] = "network"
    driver_name: ClassVar[str] = ""

    # ── what the tests stand on ────────────────────────────────────────────────────────────────────────────────

    @pytest.fixture
    def world(self) -> Iterator[wires.Host]:
        """The test's own host: its thread is inside."""
        with wires.own_network() as world:
            yield world

    @pytest.fixture
    def host(self, world: wires.Host, tmp_path: Path) -> Iterator[Host]:
        yield Host(instance=INSTANCE, data_root=tmp_path / "data", exec_root=tmp_path / "exec")
        wires.let_go(tmp_path)

    @pytest.fixture
    def driver(self, host: Host) -> NetworkDriver:
        raise NotImplementedError("a conformance suite needs a fixture called driver")

    @pytest.fixture
    def features(self, driver: NetworkDriver) -> NetworkFeatures:
        return driver.features()

    @pytest.fixture
    def outside(self, world: wires.Host) -> Iterator[Namespace]:
        with contextlib.closing(Namespace()) as outside:
            addresses = {"host_address": f"{HOST_ADDRESS}/24", "outside_address": f"{OUTSIDE_ADDRESS}/24"}
            wires.wire(world, outside, **addresses)
            world.ip("address", "add", f"{HOST_ADDRESS_6}/64", "dev", f"wire{outside.fd}", "nodad")
            outside.ip("address", "add", f"{OUTSIDE_ADDRESS_6}/64", "dev", "wire", "nodad")
            yield outside

    @pytest.fixture
    def options(self, driver: NetworkDriver, beyond: Mapping[int, Beyond]) -> Callable[..., Mapping[str, str]]:
        """``options(number, ipv6)``: of the network of that number, 1 or 2. Override it for a driver whose networks
        need some."""
        parent = driver.features().parent
        return lambda number, _ipv6: {parent: beyond[number].parent} if parent else {}

    @pytest.fixture
    def make(self, driver: NetworkDriver, options: Callable[..., Mapping[str, str]]) -> Callable[..., Net]:
        """``make(number, internal=…, ipv6=…)`` creates a network."""

        def make(number: int = 1, **wishes: Any) -> Net:
            if not (check := driver.check()).usable:
                lacking(f"the driver is not usable on this machine: {check.reason}")
            net = Net(driver, number, options=options(number, bool(wishes.get("ipv6"))), **wishes)
            try:
                driver.validate(net.spec)
            except Unsupported as error:
                pytest.skip(str(error))
            except Invalid as error:
                if net.spec.options:
                    raise
                pytest.skip(f"networks of this driver need options (fixture options, --network-option): {error}")
            driver.create_network(net.spec)
            return net

        return make

    def afresh(self, driver: NetworkDriver) -> NetworkDriver:
        """The driver as a restarted daemon makes it."""
        return type(driver)(driver.host, driver.options)

    # ── the driver itself ──────────────────────────────────────────────────────────────────────────────────────

    def test_is_usable_here_and_says_so_without_a_trace(self, driver: NetworkDriver, world: Namespace) -> None:
        before = (set(links(world)), rules())
        check = driver.check()
        assert (set(links(world)), rules()) == before
        assert check.usable or check.reason, "what is missing is said in a sentence"
        if not check.usable:
            lacking(f"the driver is not usable on this machine: {check.reason}")

    def test_it_is_written_for_this_contract(self, driver: NetworkDriver) -> None:
        assert driver.contract == CONTRACT_VERSION

    def test_making_a_driver_touches_nothing(self, world: Namespace, driver: NetworkDriver) -> None:
        """Looked at before anything else is asked of it: the fixture has made it, and nothing more."""
        self.afresh(driver)
        assert set(links(world)) == {"lo"}, "the constructor made a link"
        assert rules() == "", "the constructor made rules"
        assert not driver.host.data_root.exists(), "the constructor made its data root"
        assert not driver.host.exec_root.exists(), "the constructor made its exec root"

    def test_unknown_options_of_the_driver_are_refused(self, driver: NetworkDriver) -> None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"no such option": 1}, driver.Options)

    def test_features_are_constant(self, driver: NetworkDriver) -> None:
        assert driver.features() == driver.features() == self.afresh(driver).features()

    def test_an_unknown_option_is_refused_by_name(self, driver: NetworkDriver) -> None:
        spec = NetworkSpec(id="e" * 64, name="x", driver="under-test", options={"no.such.option": "1"})
        with pytest.raises(Invalid, match=r"no\.such\.option"):
            driver.validate(spec)

    # ── idempotence and cleanliness ────────────────────────────────────────────────────────────────────────────

    def test_creating_and_removing_may_be_done_twice_and_leaves_nothing(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace
    ) -> None:
        before = (set(links(world)), rules())
        net = make()
        driver.create_network(net.spec)
        driver.remove_network(net.spec)
        assert (set(links(world)), rules()) == before
        driver.remove_network(net.spec)
        assert (set(links(world)), rules()) == before

    def test_removing_what_was_never_made_is_no_error(self, driver: NetworkDriver, world: Namespace) -> None:
        net = Net(driver, 7)
        endpoint = net.endpoint()
        driver.unpublish(net.spec, endpoint, [])
        driver.leave(net.spec, endpoint, None)
        driver.remove_network(net.spec)
        assert set(links(world)) == {"lo"}

    def test_leaving_may_be_done_twice_and_after_the_sandbox_is_gone(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace
    ) -> None:
        self.need_own_sandbox(driver)
        net = make()
        before = set(links(world))
        first, second = net.join(), net.join()
        first.leave()
        first.leave()
        assert set(links(first.sandbox)) == {"lo"}
        second.sandbox.close()
        driver.leave(net.spec, second.endpoint, None)
        driver.leave(net.spec, second.endpoint, None)
        assert set(links(world)) == before

    def test_what_is_not_the_drivers_is_never_touched(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace
    ) -> None:
        world.ip("link", "add", "foreign0", "type", "bridge")
        nft("add table inet foreign", "add chain inet foreign c { type filter hook input priority 0 ; }")
        foreign = links(world)["foreign0"]
        net = make()
        if driver.features().sandbox == "own":
            net.join().leave()
        driver.remove_network(net.spec)
        self.afresh(driver).restore({}, [])
        assert links(world)["foreign0"] == foreign
        assert "table inet foreign" in rules()

    # ── joining ────────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_sandbox_of_a_driver_without_addresses_stays_empty(
        self, features: NetworkFeatures, make: Callable[..., Net]
    ) -> None:
        if addressed(features) or features.sandbox != "own":
            pytest.skip("this driver puts links into sandboxes, or has none")
        assert set(links(make().join().sandbox)) == {"lo"}

    @pytest.mark.parametrize("ipv6", [False, True])
    def test_an_endpoint_has_its_name_addresses_and_mac(
        self, features: NetworkFeatures, make: Callable[..., Net], ipv6: bool
    ) -> None:
        self.need(addressed(features), "addresses")
        place = make(ipv6=ipv6).join(interface="lan7")
        link = links(place.sandbox)["lan7"]
        found = {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}
        assert found == set(place.endpoint.addresses)
        assert place.endpoint.mac in ("", link["address"])
        assert "UP" in link["flags"]

    def test_a_taken_interface_name_is_a_conflict_and_leaves_nothing(
        self, features: NetworkFeatures, make: Callable[..., Net], world: Namespace
    ) -> None:
        self.need(addressed(features), "links in sandboxes")
        net = make()
        place = net.join()
        before = (set(links(world)), set(links(place.sandbox)))
        with pytest.raises(Conflict, match="eth0"):
            net.join(place.sandbox)
        assert (set(links(world)), set(links(place.sandbox))) == before

    # ── packets ────────────────────────────────────────────────────────────────────────────────────────────────

    @pytest.mark.parametrize("ipv6", [False, True])
    def test_neighbours_reach_one_another(
        self, features: NetworkFeatures, make: Callable[..., Net], ipv6: bool
    ) -> None:
        self.need(addressed(features), "addresses")
        net = make(ipv6=ipv6)
        one, other = net.join(), net.join()
        for index, address in enumerate(other.endpoint.addresses):
            plain = address.split("/")[0]
            family = socket.AF_INET6 if ":" in plain else socket.AF_INET
            with Server(other.sandbox, 80, family=family):
                for protocol in ("tcp", "udp"):
                    seen = ask(one.sandbox, plain, 80, protocol=protocol)
                    assert seen == one.endpoint.addresses[index].split("/")[0]

    def test_networks_do_not_reach_one_another(self, features: NetworkFeatures, make: Callable[..., Net]) -> None:
        self.need(features.isolates, "networks that are kept apart")
        self.need(addressed(features), "addresses")
        one, other = awake(make(1).join()), awake(make(2).join())
        with Server(other.sandbox, 80):
            assert silent(one.sandbox, other.address, 80)

    def test_the_world_is_reached_under_the_hosts_address(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace
    ) -> None:
        self.need(features.publish, "a way out by the host's address")
        place = make().join()
        with Server(outside, 80):
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80) == HOST_ADDRESS
            assert ask(place.sandbox, OUTSIDE_ADDRESS, 80, protocol="udp") == HOST_ADDRESS

    def test_nobody_outside_reaches_what_was_not_published(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace
    ) -> None:
        self.need(addressed(features) and features.isolates, "networks that are kept apart")
        place = awake(make().join())
        outside.ip("route", "add", place.subnet, "via", HOST_ADDRESS)
        with Server(place.sandbox, 80):
            assert silent(outside, place.address, 80)
            assert silent(outside, HOST_ADDRESS, 80)

    def test_an_internal_network_leads_nowhere(
        self,
        features: NetworkFeatures,
        make: Callable[..., Net],
        outside: Namespace,
        world: Namespace,
        beyond: Mapping[int, Beyond],
    ) -> None:
        self.need(addressed(features), "addresses")
        place = awake(make(internal=True).join())
        assert not place.sandbox.ip("route", "show", "default")
        # As if the container were hostile: it finds itself a way.
        gateway = place.gateway
        world.ip("address", "add", f"{gateway}/32", "dev", "lo")
        place.sandbox.ip("route", "add", "default", "via", gateway)
        with Server(outside, 80), Server(world, 81), contextlib.ExitStack() as servers:
            for other in beyond.values():
                servers.enter_context(Server(other, 80))
            for protocol in ("tcp", "udp"):
                assert silent(place.sandbox, WORLD, 80, protocol=protocol)
                assert silent(place.sandbox, OUTSIDE_ADDRESS, 80, protocol=protocol)
                assert silent(place.sandbox, HOST_ADDRESS, 81, protocol=protocol)

    def test_a_container_on_an_internal_network_too_is_no_way_out_for_its_neighbours(
        self, features: NetworkFeatures, make: Callable[..., Net], outside: Namespace
    ) -> None:
        self.need(features.publish, "a way out")
        both = make(1).join()
        hidden = make(2, internal=True)
        inner = hidden.join(both.sandbox, interface="eth1", default_route=False)
        peer = hidden.join()
        peer.sandbox.ip("route", "add", "default", "via", inner.address)
        with Server(outside, 80), Server(both.sandbox, 82):
            assert ask(both.sandbox, OUTSIDE_ADDRESS, 80) == HOST_ADDRESS
            assert ask(peer.sandbox, inner.address, 82) == peer.address
            assert silent(peer.sandbox, OUTSIDE_ADDRESS, 80)

    # ── after a crash ──────────────────────────────────────────────────────────────────────────────────────────

    def test_restore_puts_back_what_was_lost(
        self, driver: NetworkDriver, make: Callable[..., Net], outside: Namespace, world: Namespace
    ) -> None:
        features = driver.features()
        self.need(addressed(features), "addresses")
        net = make()
        place, neighbour = net.join(), net.join()
        if features.publish:
            place.publish(8080)
        for name, link in links(world).items():
            if name != "lo" and not name.startswith("wire") and name in links(world):
                world.ip("link", "delete", link["ifname"])
        nft("flush ruleset")
        self.afresh(driver).restore({net.spec.id: net.spec}, [place.joined(), neighbour.joined()])
        with Server(place.sandbox, 80):
            assert ask(neighbour.sandbox, place.address, 80) == neighbour.address
            if features.publish:
                assert ask(outside, HOST_ADDRESS, 8080) == OUTSIDE_ADDRESS
            else:
                assert silent(outside, HOST_ADDRESS, 8080)

    def test_restore_removes_what_nobody_knows(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace
    ) -> None:
        self.need_own_sandbox(driver)
        before = (set(links(world)), rules())
        place = make().join()
        if driver.features().publish:
            place.publish(8080)
        self.afresh(driver).restore({}, [])
        assert (set(links(world)), rules()) == before

    def test_restore_leaves_alone_what_is_right(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace
    ) -> None:
        self.need(addressed(driver.features()), "addresses")
        net = make()
        place = net.join()
        if driver.features().publish:
            place.publish(8080)
        before = ({name: one["ifindex"] for name, one in links(world).items()}, rules())
        again = self.afresh(driver)
        again.restore({net.spec.id: net.spec}, [place.joined()])
        again.restore({net.spec.id: net.spec}, [place.joined()])
        assert ({name: one["ifindex"] for name, one in links(world).items()}, rules()) == before

    def test_another_instance_is_left_alone(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace, tmp_path: Path
    ) -> None:
        self.need(addressed(driver.features()), "addresses")
        net = make()
        place, neighbour = net.join(), net.join()
        other = Host(instance="77777777", data_root=tmp_path / "data2", exec_root=tmp_path / "exec2")
        type(driver)(other, driver.options).restore({}, [])
        with Server(place.sandbox, 80):
            assert ask(neighbour.sandbox, place.address, 80)

    def test_half_made_endpoints_can_be_left(
        self, driver: NetworkDriver, make: Callable[..., Net], world: Namespace
    ) -> None:
        self.need(addressed(driver.features()), "addresses")
        net = make()
        before = set(links(world))
        place = net.join()
        place.sandbox.ip("link", "delete", "eth0")
        place.leave()
        assert set(links(world)) == before

    # ── many at once ───────────────────────────────────────────────────────────────────────────────────────────

    def test_many_endpoints_come_and_go_at_once(
        self, driver: NetworkDriver, make: Callable[..., Net], world: wires.Host
    ) -> None:
        features = driver.features()
        self.need(addressed(features), "addresses")
        net = make()
        before = (set(links(world)), rules())
        endpoints = [net.endpoint() for _ in range(12)]

        def live(number: int) -> bool:
            place = Place(net, endpoints[number], Namespace())
            driver.join(net.spec, place.endpoint, place.sandbox.path)
            try:
                if features.publish:
                    place.publish(9000 + number)
                    with Server(place.sandbox, 80):
                        return bool(ask(world, "127.0.0.1", 9000 + number))
                return "eth0" in links(place.sandbox)
            finally:
                place.unpublish()
                place.leave()
                place.sandbox.close()

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(live, range(len(endpoints))))
        assert (set(links(world)), rules()) == before


def nft(*commands: str) -> None:
    """Raw rules, in the namespace of the calling thread; nothing where the machine has no nft."""
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["nft", "-f", "-"], input="\n".join(commands) + "\n", text=True, check=True)
