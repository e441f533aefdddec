"""Wrong network drivers."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from mutants.judging import Mutants
from sampan.drivers.network import Joined
from sampan.drivers.types import Check, EndpointSpec, Host, NetworkFeatures, NetworkSpec, PortBinding
from sampan.errors import Conflict, Invalid, NotFound, Unsupported
from sampan.linux import links, netns
from sampan.linux.netlink import Netlink
from sampan.linux.setelements import Element
from sampan_network.bridge import Bridge
from sampan_network.internal import Internal
from sampan_network.none import Nothing

MUTANTS = Mutants("network")
breaks = MUTANTS.breaks


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=False, capture_output=True)


def inside(sandbox: Path | None, *words: str) -> None:
    if sandbox is not None and sandbox.exists():
        netns.inside(sandbox, lambda: ip(*words))


# ── the driver as such ───────────────────────────────────────────────────────────────────────────────────────────


@breaks("it speaks this contract", call="check", caught_by="test_it_is_written_for_this_contract")
class SpeaksAnother(Nothing):
    contract = 2


@breaks("the constructor touches nothing", call="check", caught_by="test_making_a_driver_touches_nothing")
class BeginsWithARule(Bridge):
    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self._firewall.replace(())


@breaks("check changes nothing", call="check", caught_by="test_is_usable_here_and_says_so_without_a_trace")
class ChecksByMakingABridge(Bridge):
    def check(self) -> Check:
        ip("link", "add", "probe0", "type", "bridge")
        return Check(True)


@breaks("features are constant", call="features", caught_by="test_features_are_constant")
class CannotDecide(Nothing):
    said = False

    def features(self) -> NetworkFeatures:
        self.said = not self.said
        return NetworkFeatures(sandbox="own", single=self.said)


@breaks("an unknown option is refused", call="validate", caught_by="test_an_unknown_option_is_refused_by_name")
class TakesAnything(Bridge):
    def validate(self, network: NetworkSpec) -> None:
        return


@breaks("an unknown option is named", call="validate", caught_by="test_an_unknown_option_is_refused_by_name")
class SaysOnlyNo(Bridge):
    def validate(self, network: NetworkSpec) -> None:
        try:
            super().validate(network)
        except Invalid:
            raise Invalid("this network cannot be") from None


@breaks(
    "an unknown option in the configuration is an error",
    call="check",
    caught_by="test_unknown_options_of_the_driver_are_refused",
)
class TakesAnyConfiguration(Nothing):
    class Options(msgspec.Struct, frozen=True):
        pass


# ── networks ─────────────────────────────────────────────────────────────────────────────────────────────────────


@breaks(
    "a network may be created again",
    call="create_network",
    caught_by="test_creating_and_removing_may_be_done_twice_and_leaves_nothing",
)
class CreatesOnce(Bridge):
    def create_network(self, network: NetworkSpec) -> None:
        if links.link(self._host(), self.bridge_name(network)):
            raise Conflict(f"network {network.name!r} exists")
        super().create_network(network)


@breaks(
    "a network may be removed again",
    call="remove_network",
    caught_by="test_creating_and_removing_may_be_done_twice_and_leaves_nothing",
)
class RemovesOnce(Bridge):
    def remove_network(self, network: NetworkSpec) -> None:
        if links.link(self._host(), self.bridge_name(network)) is None:
            raise NotFound(f"network {network.name!r} does not exist")
        super().remove_network(network)


@breaks(
    "what was never made can be removed",
    call="remove_network",
    caught_by="test_removing_what_was_never_made_is_no_error",
)
class NeedsSomethingToRemove(Bridge):
    made = False

    def create_network(self, network: NetworkSpec) -> None:
        self.made = True
        super().create_network(network)

    def remove_network(self, network: NetworkSpec) -> None:
        if not self.made:
            raise NotFound(f"network {network.name!r} does not exist")
        super().remove_network(network)


@breaks(
    "removing removes all that was made",
    call="remove_network",
    caught_by="test_creating_and_removing_may_be_done_twice_and_leaves_nothing",
)
class LeavesTheBridge(Bridge):
    def remove_network(self, network: NetworkSpec) -> None:
        self._firewall.remove(self._elements(network))
        self._firewall.remove_table()


@breaks(
    "removing leaves no rules",
    call="remove_network",
    caught_by="test_creating_and_removing_may_be_done_twice_and_leaves_nothing",
)
class LeavesTheRules(Bridge):
    def remove_network(self, network: NetworkSpec) -> None:
        ip("link", "delete", self.bridge_name(network))


@breaks(
    "nothing of others is touched", call="create_network", caught_by="test_what_is_not_the_drivers_is_never_touched"
)
class FlushesTheFirewall(Bridge):
    def create_network(self, network: NetworkSpec) -> None:
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        super().create_network(network)


@breaks(
    "nothing of others is touched after a crash",
    call="restore",
    caught_by="test_what_is_not_the_drivers_is_never_touched",
)
class RemovesEveryBridge(Bridge):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        for name, link in links.links(self._host()).items():
            if link.kind == "bridge":
                ip("link", "delete", name)
        super().restore(networks, joined)


# ── joining ──────────────────────────────────────────────────────────────────────────────────────────────────────


@breaks(
    "without addresses a sandbox stays empty",
    call="join",
    caught_by="test_a_sandbox_of_a_driver_without_addresses_stays_empty",
)
class BringsSomethingAnyway(Nothing):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        inside(sandbox, "link", "add", "extra0", "type", "bridge")


@breaks(
    "an endpoint has the name that was asked for",
    call="join",
    caught_by="test_an_endpoint_has_its_name_addresses_and_mac",
)
class NamesLinksItself(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().join(network, msgspec.structs.replace(endpoint, interface="net0"), sandbox)


@breaks(
    "an endpoint has all of its addresses", call="join", caught_by="test_an_endpoint_has_its_name_addresses_and_mac"
)
class KnowsOnlyIpv4(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().join(network, msgspec.structs.replace(endpoint, addresses=endpoint.addresses[:1]), sandbox)


@breaks("an endpoint has its MAC address", call="join", caught_by="test_an_endpoint_has_its_name_addresses_and_mac")
class PicksAnyMac(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().join(network, msgspec.structs.replace(endpoint, mac="02:00:00:00:00:07"), sandbox)


@breaks("an endpoint is up", call="join", caught_by="test_an_endpoint_has_its_name_addresses_and_mac")
class LeavesLinksDown(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().join(network, endpoint, sandbox)
        inside(sandbox, "link", "set", endpoint.interface, "down")


@breaks(
    "one endpoint carries the way out",
    call="join",
    caught_by="test_only_the_endpoint_with_the_way_out_has_a_default_route",
)
class AlwaysRoutes(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().join(network, msgspec.structs.replace(endpoint, default_route=True), sandbox)


@breaks(
    "the way out can be taken from an endpoint",
    call="route",
    caught_by="test_the_way_out_moves_from_one_endpoint_to_another_and_back",
)
class OnlyGivesWaysOut(Bridge):
    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if endpoint.default_route:
            super().route(network, endpoint, sandbox)


@breaks(
    "an endpoint can become the way out",
    call="route",
    caught_by="test_the_way_out_moves_from_one_endpoint_to_another_and_back",
)
class OnlyTakesWaysOut(Bridge):
    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if not endpoint.default_route:
            super().route(network, endpoint, sandbox)


@breaks(
    "an endpoint may be told twice that it is no way out",
    call="route",
    caught_by="test_the_way_out_moves_from_one_endpoint_to_another_and_back",
)
class TakesAWayOutOnce(Bridge):
    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        told = self.__dict__.setdefault("told", {})
        if not endpoint.default_route and told.get(endpoint.id) is False:
            raise NotFound("there is no route to the world")
        told[endpoint.id] = endpoint.default_route
        super().route(network, endpoint, sandbox)


@breaks(
    "taking the way out leaves the other routes",
    call="route",
    caught_by="test_the_way_out_moves_from_one_endpoint_to_another_and_back",
)
class FlushesRoutes(Bridge):
    def route(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if not endpoint.default_route:
            inside(sandbox, "route", "flush", "dev", endpoint.interface)
        super().route(network, endpoint, sandbox)


@breaks(
    "a taken name is a conflict", call="join", caught_by="test_a_taken_interface_name_is_a_conflict_and_leaves_nothing"
)
class CallsATakenNameInvalid(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        try:
            super().join(network, endpoint, sandbox)
        except Conflict as error:
            raise Invalid(error.message) from None


@breaks(
    "a join that fails leaves nothing",
    call="join",
    caught_by="test_a_taken_interface_name_is_a_conflict_and_leaves_nothing",
)
class LeavesHalfAJoin(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        try:
            super().join(network, endpoint, sandbox)
        except Conflict:
            ip("link", "add", self.link_name(endpoint), "type", "bridge")
            raise


@breaks(
    "leaving may be done twice", call="leave", caught_by="test_leaving_may_be_done_twice_and_after_the_sandbox_is_gone"
)
class LeavesOnce(Bridge):
    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if links.link(self._host(), self.link_name(endpoint)) is None:
            raise NotFound(f"endpoint {endpoint.id[:12]} does not exist")
        super().leave(network, endpoint, sandbox)


@breaks(
    "leaving needs no sandbox", call="leave", caught_by="test_leaving_may_be_done_twice_and_after_the_sandbox_is_gone"
)
class LeavesFromInside(Bridge):
    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is None:
            raise NotFound("there is no sandbox to leave")
        super().leave(network, endpoint, sandbox)


@breaks(
    "leaving removes the endpoint",
    call="leave",
    caught_by="test_leaving_may_be_done_twice_and_after_the_sandbox_is_gone",
)
class NeverLeaves(Bridge):
    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        return


@breaks("a half-made endpoint can be left", call="leave", caught_by="test_half_made_endpoints_can_be_left")
class LeavesOnlyWhatIsWhole(Bridge):
    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if sandbox is not None and not netns.inside(sandbox, lambda: links.link(Netlink(), endpoint.interface)):
            raise NotFound(f"there is no {endpoint.interface} in the sandbox")
        super().leave(network, endpoint, sandbox)


# ── packets ──────────────────────────────────────────────────────────────────────────────────────────────────────


@breaks("neighbours reach one another", call="join", caught_by="test_neighbours_reach_one_another")
class IsolatesNeighbours(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().join(network, endpoint, sandbox)
        self._host().run(links.port(self.link_name(endpoint), isolated=True, hairpin=False))


@breaks("networks do not reach one another", call="create_network", caught_by="test_networks_do_not_reach_one_another")
class LetsNetworksMeet(Bridge):
    def create_network(self, network: NetworkSpec) -> None:
        super().create_network(network)
        subprocess.run(["nft", "flush", "chain", *self._firewall.table.split(), "forward"], check=True)


@breaks(
    "the world is reached under the host's address",
    call="create_network",
    caught_by="test_the_world_is_reached_under_the_hosts_address",
)
class ShowsInnerAddresses(Bridge):
    def create_network(self, network: NetworkSpec) -> None:
        super().create_network(network)
        subprocess.run(["nft", "flush", "chain", *self._firewall.table.split(), "outbound"], check=True)


@breaks(
    "nobody reaches what was not published",
    call="create_network",
    caught_by="test_nobody_outside_reaches_what_was_not_published",
)
class LetsTheWorldIn(Bridge):
    def create_network(self, network: NetworkSpec) -> None:
        super().create_network(network)
        subprocess.run(["nft", "flush", "chain", *self._firewall.table.split(), "forward"], check=True)


@breaks("an internal network leads nowhere", call="create_network", caught_by="test_an_internal_network_leads_nowhere")
class ForgetsInternal(Bridge):
    def _sealed(self, network: NetworkSpec) -> bool:
        return False


@breaks(
    "an internal network is sealed, not only without a route",
    call="join",
    caught_by="test_an_internal_network_leads_nowhere",
)
class OnlyLeavesTheRouteOut(Bridge):
    def _sealed(self, network: NetworkSpec) -> bool:
        return False

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        way = endpoint.default_route and not network.internal
        super().join(network, msgspec.structs.replace(endpoint, default_route=way), sandbox)


@breaks(
    "nobody on a network speaks for others",
    call="create_network",
    caught_by="test_a_container_on_an_internal_network_too_is_no_way_out_for_its_neighbours",
)
class BelievesAnySource(Bridge):
    def _elements(self, network: NetworkSpec) -> Iterator[Element]:
        yield from super()._elements(network)
        yield Element("own4", f'"{self.bridge_name(network)}" . 0.0.0.0-9.255.255.255')
        yield Element("own4", f'"{self.bridge_name(network)}" . 10.128.0.0-255.255.255.255')

    def create_network(self, network: NetworkSpec) -> None:
        super().create_network(network)
        table = self._firewall.table.split()
        subprocess.run(["nft", "flush", "chain", *table, "forward"], check=True)
        subprocess.run(["nft", "add", "rule", *table, "outbound", "masquerade"], check=True)


# ── published ports ──────────────────────────────────────────────────────────────────────────────────────────────


@breaks("a published port is reached", call="publish", caught_by="test_a_published_port_is_reached_from_everywhere")
class PublishesTcpOnly(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        super().publish(network, endpoint, [port for port in ports if port.protocol == "tcp"])


@breaks(
    "a published port is reached from the host itself",
    call="publish",
    caught_by="test_a_published_port_is_reached_from_everywhere",
)
class ForgetsTheHostItself(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        super().publish(network, endpoint, ports)
        subprocess.run(["nft", "flush", "chain", *self._firewall.table.split(), "local"], check=True)


@breaks(
    "unpublishing takes the port back", call="unpublish", caught_by="test_a_published_port_is_reached_from_everywhere"
)
class NeverUnpublishes(Bridge):
    def unpublish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        return


@breaks("unpublishing may be repeated", call="unpublish", caught_by="test_a_published_port_is_reached_from_everywhere")
class UnpublishesOnce(Bridge):
    done = False

    def unpublish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        if self.done:
            raise NotFound("no port is published")
        self.done = True
        super().unpublish(network, endpoint, ports)


@breaks(
    "who has a port now gets its datagrams",
    call="publish",
    caught_by="test_a_client_that_keeps_sending_datagrams_finds_who_has_the_port_now",
)
class KeepsOldFlows(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        self._firewall.add(one for port in ports for one in self._published(network, endpoint, port))

    def unpublish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        self._firewall.remove(one for port in ports for one in self._published(network, endpoint, port))


@breaks("a port is published over IPv6", call="publish", caught_by="test_a_port_is_published_over_ipv6")
class PublishesIpv4Only(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        super().publish(network, endpoint, [port for port in ports if ":" not in port.host_ip])


@breaks(
    "a port is published on its address alone",
    call="publish",
    caught_by="test_a_port_published_on_one_address_is_not_on_others",
)
class PublishesEverywhere(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        super().publish(network, endpoint, [msgspec.structs.replace(port, host_ip="0.0.0.0") for port in ports])


@breaks(
    "the host's loopback is the host's",
    call="publish",
    caught_by="test_the_hosts_loopback_is_reached_by_nobody_over_a_cable_or_a_bridge",
)
class OpensTheLoopback(Bridge):
    def create_network(self, network: NetworkSpec) -> None:
        super().create_network(network)
        subprocess.run(["nft", "flush", "chain", *self._firewall.table.split(), "early"], check=True)


@breaks(
    "a port belongs to one", call="publish", caught_by="test_a_port_belongs_to_one_and_all_ports_or_none_are_published"
)
class GivesPortsAway(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        for port in ports:
            [element] = self._published(network, endpoint, port)
            if old := self._firewall.value(element.set, element.key):
                self._firewall.remove([Element(element.set, element.key, old)])
        super().publish(network, endpoint, ports)


@breaks(
    "all ports are published or none",
    call="publish",
    caught_by="test_a_port_belongs_to_one_and_all_ports_or_none_are_published",
)
class PublishesOneByOne(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        for port in ports:
            super().publish(network, endpoint, [port])


@breaks(
    "the port that is taken is named",
    call="publish",
    caught_by="test_a_port_belongs_to_one_and_all_ports_or_none_are_published",
)
class DoesNotSayWhichPort(Bridge):
    def publish(self, network: NetworkSpec, endpoint: EndpointSpec, ports: Sequence[PortBinding]) -> None:
        try:
            super().publish(network, endpoint, ports)
        except Conflict:
            raise Conflict("a port is taken") from None


# ── after a crash ────────────────────────────────────────────────────────────────────────────────────────────────


@breaks("what was lost is put back", call="restore", caught_by="test_restore_puts_back_what_was_lost")
class RestoresNothing(Bridge):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        return


@breaks("lost endpoints are put back", call="restore", caught_by="test_restore_puts_back_what_was_lost")
class RestoresOnlyNetworks(Internal):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        super().restore(networks, [])


@breaks("published ports are put back", call="restore", caught_by="test_restore_puts_back_what_was_lost")
class RestoresNoPorts(Bridge):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        super().restore(networks, [msgspec.structs.replace(one, ports=()) for one in joined])


@breaks("what nobody knows is removed", call="restore", caught_by="test_restore_removes_what_nobody_knows")
class KeepsOrphans(Bridge):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        if networks:
            super().restore(networks, joined)


@breaks("what is right is left alone", call="restore", caught_by="test_restore_leaves_alone_what_is_right")
class RestoresByMakingAnew(Bridge):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        super().restore({}, [])
        super().restore(networks, joined)


@breaks("other instances are left alone", call="restore", caught_by="test_another_instance_is_left_alone")
class TakesAllForItsOwn(Bridge):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        for name in links.links(self._host()):
            if name.startswith(("sb", "vb")):
                ip("link", "delete", name)
        super().restore(networks, joined)


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────


@breaks("endpoints come at once from several threads", call="join", caught_by="test_many_endpoints_come_and_go_at_once")
class JoinsOneAtATime(Bridge):
    joining = False

    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if self.joining:
            raise Conflict("another container is joining")
        self.joining = True
        try:
            time.sleep(0.02)
            super().join(network, endpoint, sandbox)
        finally:
            self.joining = False


@breaks("many that went have left nothing", call="leave", caught_by="test_many_endpoints_come_and_go_at_once")
class ForgetsSomeLinks(Bridge):
    def leave(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        super().leave(network, endpoint, sandbox)
        with contextlib.suppress(Unsupported):
            ip("link", "add", f"left{endpoint.id[1:4]}", "type", "bridge")
