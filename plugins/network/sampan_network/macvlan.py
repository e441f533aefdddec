"""``macvlan``: each endpoint is a link with a MAC address of its own on a link of the host (ip-link(8), macvlan).

The options are Docker's (https://docs.docker.com/engine/network/drivers/macvlan/#options).
"""

from __future__ import annotations

from sampan.drivers.types import EndpointSpec, NetworkFeatures, NetworkSpec
from sampan.errors import Conflict, Invalid
from sampan.linux import links
from sampan.linux.netlink import Message
from sampan_network import stacked, values

MODE = "macvlan_mode"


class Macvlan(stacked.Stacked):
    kind = "macvlan"
    prefix = "m"
    options_known = (stacked.PARENT, MODE, values.MTU)

    def features(self) -> NetworkFeatures:
        known = self.options_known
        return NetworkFeatures(sandbox="own", addresses=True, names=True, parent=stacked.PARENT, options=known)

    def validate(self, network: NetworkSpec) -> None:
        super().validate(network)
        mode = _mode(network)
        if mode not in links.MACVLAN_MODES:
            raise Invalid(
                f"requested macvlan mode {mode!r} is not valid, 'bridge' mode is the macvlan driver default: option"
                f" {MODE} may be {', '.join(links.MACVLAN_MODES)}"
            )

    def link(self, network: NetworkSpec, endpoint: EndpointSpec, parent: int, namespace: int) -> Message:
        mtu = values.mtu(network) or None
        name, mode = endpoint.interface, _mode(network)
        return links.macvlan(name, parent, namespace, mode=mode, group=self._group, mtu=mtu, mac=endpoint.mac)

    def check_shared(self, network: NetworkSpec, other: NetworkSpec, parent: str) -> None:
        if _mode(network) == "passthru":
            raise Conflict(
                f"cannot use mode passthru, macvlan network {other.id} is already using parent interface {parent}"
            )
        if _mode(other) == "passthru":
            raise Conflict(f"macvlan network {other.id} is already using parent interface {parent} in mode passthru")


def _mode(network: NetworkSpec) -> str:
    return network.options.get(MODE) or "bridge"
