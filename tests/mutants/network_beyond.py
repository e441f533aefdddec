"""Wrong network drivers, continued: on links of the host, and with addresses of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mutants.network import MUTANTS, breaks
from sampan.drivers.network import Joined
from sampan.drivers.types import EndpointSpec, Finding, NetworkFeatures, NetworkSpec, PortBinding, Subnet
from sampan.errors import NotFound
from sampan.linux import links
from sampan.linux.setelements import Element
from sampan_network import inside, stacked, values
from sampan_network.bridge import Bridge
from sampan_network.macvlan import Macvlan

__all__ = ["MUTANTS"]


@breaks(
    "the way out is by the gateway that the network names",
    call="join",
    caught_by="test_the_way_out_is_by_the_gateway_beyond_the_parent",
)
class AsksForTheWorldOnTheLink(Macvlan):
    def ways(self, network: NetworkSpec, endpoint: EndpointSpec) -> Sequence[inside.Way]:
        return [inside.Way(4), inside.Way(6)]


@breaks(
    "an internal network leads nowhere, whatever its parent",
    call="join",
    caught_by="test_an_internal_network_leads_nowhere",
)
class ForgetsThatItIsInternal(Macvlan):
    def sealed(self, network: NetworkSpec) -> bool:
        return not network.options.get(stacked.PARENT)


@breaks(
    "a parent that is gone holds nobody up",
    call="restore",
    caught_by="test_a_network_that_has_lost_its_parent_says_so_and_holds_nobody_up",
)
class NeedsEveryParent(Macvlan):
    def restore(self, networks: Mapping[str, NetworkSpec], joined: Sequence[Joined]) -> None:
        for network in networks.values():
            self.create_network(network)
        super().restore(networks, joined)


@breaks(
    "a parent that is gone is named",
    call="join",
    caught_by="test_a_network_that_has_lost_its_parent_says_so_and_holds_nobody_up",
)
class StandsOnNothingInstead(Macvlan):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        if links.link(self._host(), self.parent_name(network)) is None:
            stacked.make_sink(self._host(), self.parent_name(network), self._group)
        super().join(network, endpoint, sandbox)


@breaks(
    "a parent that cannot be is refused",
    call="validate",
    caught_by="test_a_parent_that_cannot_be_is_refused_by_name",
)
class TakesAnyParent(Macvlan):
    def validate(self, network: NetworkSpec) -> None:
        values.check_known(network, self.options_known)


@breaks(
    "a parent that is not there is refused",
    call="create_network",
    caught_by="test_a_parent_that_cannot_be_is_refused_by_name",
)
class MakesNoDifference(Macvlan):
    def create_network(self, network: NetworkSpec) -> None:
        return


@breaks(
    "every subnet has a gateway of its own",
    call="join",
    caught_by="test_an_address_of_a_second_subnet_has_that_subnets_gateway",
)
class TakesAnyGateway(Bridge):
    def join(self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None) -> None:
        subnets = [
            msgspec.structs.replace(one, gateway=one.gateway.replace("10.31.0.1", "10.31.0.9"))
            for one in network.subnets
        ]
        super().join(msgspec.structs.replace(network, subnets=tuple(subnets)), endpoint, sandbox)


@breaks(
    "addresses that a driver gives itself are there",
    call="join",
    caught_by="test_addresses_that_a_driver_gives_itself_are_there_and_told",
)
class TellsOtherAddresses(Bridge):
    def features(self) -> NetworkFeatures:
        return NetworkFeatures(sandbox="own", publish=True, names=True)

    def validate(self, network: NetworkSpec) -> None:
        super().validate(_with_subnet(network))

    def create_network(self, network: NetworkSpec) -> None:
        super().create_network(_with_subnet(network))

    def join(  # type: ignore[override]  # the contract allows it, and bridge makes no use of that
        self, network: NetworkSpec, endpoint: EndpointSpec, sandbox: Path | None
    ) -> Sequence[str]:
        own = msgspec.structs.replace(endpoint, addresses=("10.99.0.2/16",))
        super().join(_with_subnet(network), own, sandbox)
        return ["10.99.0.3/16"]


@breaks(
    "what nobody knows is removed from sandboxes, too",
    call="restore",
    caught_by="test_restore_removes_from_a_sandbox_what_nobody_knows",
)
class LeavesLinksInSandboxes(Macvlan):
    def _tidy(self, sandbox: Path, wanted: set[str]) -> None:
        return


@breaks(
    "what nobody knows is removed from sandboxes of others, too",
    call="restore",
    caught_by="test_restore_removes_from_a_sandbox_what_nobody_knows",
)
class LooksOnlyWhereItIsTold(Macvlan):
    def _note(self, endpoint: EndpointSpec, sandbox: Path) -> None:
        return


def _with_subnet(network: NetworkSpec) -> NetworkSpec:
    return msgspec.structs.replace(network, subnets=(Subnet(subnet="10.99.0.0/16", gateway="10.99.0.1"),))


# ── what the doctor is told ──────────────────────────────────────────────────────────────────────────────────────

_LOOK = "test_what_is_right_is_not_called_wrong_and_looking_changes_nothing"


@breaks("what is right is not called wrong", call="examine", caught_by=_LOOK)
class NeverContent(Bridge):
    def examine(
        self, network: NetworkSpec, endpoint: EndpointSpec | None = None, ports: Sequence[PortBinding] = ()
    ) -> Sequence[Finding]:
        return [Finding(about=network.name, says="it might break", mark="wrong", remedy="look again")]


@breaks("looking changes nothing", call="examine", caught_by=_LOOK)
class PublishesWhileItLooks(Bridge):
    def examine(
        self, network: NetworkSpec, endpoint: EndpointSpec | None = None, ports: Sequence[PortBinding] = ()
    ) -> Sequence[Finding]:
        self._firewall.add([Element("bridges", '"looked"')])
        return ()


@breaks("what was never made can be looked at", call="examine", caught_by="test_what_was_never_made_can_be_looked_at")
class LooksAtWhatIsNot(Bridge):
    def examine(
        self, network: NetworkSpec, endpoint: EndpointSpec | None = None, ports: Sequence[PortBinding] = ()
    ) -> Sequence[Finding]:
        if self.bridge_name(network) not in links.links(self._host()):
            raise NotFound(f"no network {network.name}")
        return ()
