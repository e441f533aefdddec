"""Configuration-only networks: what a network is to be like, for others to be made of (``--config-from``).

They are records and nothing else; nobody is ever on one. The rules and the words are libnetwork's
(``validateConfiguration``, ``applyConfigurationTo``).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sampan.errors import Forbidden, NotFound
from sampan.networks.request import Request
from sampan.types import Network


def check(request: Request) -> None:
    """``Forbidden`` for what a configuration cannot have, and for what a network that is made of one cannot say."""
    if request.config_only and (request.internal or request.attachable):
        fields = "[ ingress | internal | attachable | scope ]"
        what = f"Network operator fields like {fields} are not supported"
        raise Forbidden(f"configuration network can only contain network specific fields. {what}.")
    if not request.config_from:
        return
    depends = "if the network depends on a configuration network"
    if request.config_only:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    if request.options:
        raise Forbidden(f"network driver options are not supported {depends}")
    if request.subnets or request.labels or request.ipam_options or request.ipv6:
        raise Forbidden(f"user specified configurations are not supported {depends}")


def applied(request: Request, networks: Iterable[Network]) -> Request:
    """The request with what the configuration says that it names. ``NotFound`` if there is none of the name."""
    name = request.config_from
    found = next((one for one in networks if one.config_only and one.spec.name == name), None)
    if found is None:
        raise NotFound(f'configuration network "{name}" does not exist')
    return msgspec.structs.replace(
        request,
        subnets=found.spec.subnets,
        options=found.other_options,
        labels=found.labels,
        ipv4=found.ipv4,
        ipv6=found.ipv6,
        ipam_options=found.ipam_options,
    )


def check_unused(network: Network, networks: Iterable[Network]) -> None:
    """``Forbidden`` if there are networks that were made of it."""
    if network.config_only and any(one.config_from == network.spec.name for one in networks):
        what = f'configuration network "{network.spec.name}" is in use'
        raise Forbidden(f"error while removing network: {what}")
