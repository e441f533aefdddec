"""``ipvlan``: each endpoint is a link with the parent's own MAC address, told from the others by its IP addresses
(Linux Documentation/networking/ipvlan.rst).

In mode l2 containers are in the parent's network. In l3 and l3s the kernel routes for them in the host's place: there
is no gateway and no ARP, and whoever is to answer needs a route to the network by way of the host. The options are
Docker's (https://docs.docker.com/engine/network/drivers/ipvlan/#options).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sampan.drivers.types import EndpointSpec, NetworkFeatures, NetworkSpec
from sampan.errors import Conflict, Invalid, Unsupported
from sampan.linux import links
from sampan.linux.netlink import Message
from sampan_network import inside, stacked, values

MODE, FLAG = "ipvlan_mode", "ipvlan_flag"


class Ipvlan(stacked.Stacked):
    kind = "ipvlan"
    prefix = "p"
    options_known = (stacked.PARENT, MODE, FLAG, values.MTU)

    def features(self) -> NetworkFeatures:
        known, parent = self.options_known, stacked.PARENT
        return NetworkFeatures(sandbox="own", addresses=True, names=True, macs=False, parent=parent, options=known)

    def validate(self, network: NetworkSpec) -> None:
        super().validate(network)
        mode, flag = _mode(network), _flag(network)
        if mode not in links.IPVLAN_MODES:
            raise Invalid(
                f"requested ipvlan mode {mode!r} is not valid, 'l2' mode is the ipvlan driver default: option {MODE}"
                f" may be {', '.join(links.IPVLAN_MODES)}"
            )
        if flag not in links.IPVLAN_FLAGS:
            raise Invalid(
                f"requested ipvlan flag {flag!r} is not valid, 'bridge' is the ipvlan driver default flag: option"
                f" {FLAG} may be {', '.join(links.IPVLAN_FLAGS)}"
            )

    def ways(self, network: NetworkSpec, endpoint: EndpointSpec) -> Sequence[inside.Way]:
        if _mode(network) == "l2":
            return inside.gateways(network, endpoint)
        versions = {ipaddress.ip_interface(address).version for address in endpoint.addresses}
        return [inside.Way(version) for version in sorted(versions)]

    def link(self, network: NetworkSpec, endpoint: EndpointSpec, parent: int, namespace: int) -> Message:
        if endpoint.mac:
            raise Unsupported("ipvlan interfaces do not support custom mac address assignment")
        mtu = values.mtu(network) or None
        name, mode, flag = endpoint.interface, _mode(network), _flag(network)
        return links.ipvlan(name, parent, namespace, mode=mode, flag=flag, group=self._group, mtu=mtu)

    def check_shared(self, network: NetworkSpec, other: NetworkSpec, parent: str) -> None:
        if (_mode(network), _flag(network)) != (_mode(other), _flag(other)):
            raise Conflict(
                f"network {other.name} is already using parent interface {parent} in mode {_mode(other)},"
                f" {_flag(other)}: all networks on a parent have the same mode and flag"
            )


def _mode(network: NetworkSpec) -> str:
    return network.options.get(MODE) or "l2"


def _flag(network: NetworkSpec) -> str:
    return network.options.get(FLAG) or "bridge"
