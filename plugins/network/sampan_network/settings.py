"""What a user may say of one bridge network (``docker network create -o KEY=VALUE``), checked.

The keys are Docker's (https://docs.docker.com/engine/network/drivers/bridge/#options).
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass

from sampan.drivers.types import NetworkSpec
from sampan.errors import Invalid
from sampan_network import values

_BRIDGE = "com.docker.network.bridge"
BRIDGE = f"{_BRIDGE}.name"
ICC = f"{_BRIDGE}.enable_icc"
MASQUERADE = f"{_BRIDGE}.enable_ip_masquerade"
BINDING, BINDING_6 = f"{_BRIDGE}.host_binding_ipv4", f"{_BRIDGE}.host_binding_ipv6"
MODE, MODE_6 = f"{_BRIDGE}.gateway_mode_ipv4", f"{_BRIDGE}.gateway_mode_ipv6"
INHIBIT = f"{_BRIDGE}.inhibit_ipv4"
TRUSTED = f"{_BRIDGE}.trusted_host_interfaces"
PREFIX = "com.docker.network.container_iface_prefix"
ENGINES = ("com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6")
"""Told to the driver by some clients, and the engine's business."""

KNOWN = (BRIDGE, ICC, MASQUERADE, BINDING, BINDING_6, MODE, MODE_6, INHIBIT, TRUSTED, values.MTU, PREFIX, *ENGINES)

NAT, UNPROTECTED, ROUTED, ISOLATED = "nat", "nat-unprotected", "routed", "isolated"
_MODES = (NAT, UNPROTECTED, ROUTED, ISOLATED)

_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}  # Go's strconv.ParseBool, in any case


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``bridge`` is ``""`` where the driver picks the name, ``mtu`` 0 where it picks that.

    ``modes`` are those of IPv4 and IPv6; ``gateway``: whether the bridge has an IPv4 address; ``trusted`` are links of
    the host whose packets may go straight to published ports of containers.
    """

    bridge: str = ""
    icc: bool = True
    masquerade: bool = True
    mtu: int = 0
    modes: tuple[str, str] = (NAT, NAT)
    gateway: bool = True
    trusted: tuple[str, ...] = ()

    def mode(self, address: str) -> str:
        """That of the IP version of an address or a subnet."""
        return self.modes[":" in address]


def parse(network: NetworkSpec) -> Settings:
    """``Invalid`` names the option, its value and what is allowed."""
    values.check_known(network, KNOWN)
    options = network.options
    for key in ENGINES:
        _flag(key, options.get(key, "false"))
    for key, version in ((BINDING, 4), (BINDING_6, 6)):
        _address(key, options.get(key, ""), version)
    if options.get(PREFIX):
        values.link(PREFIX, options[PREFIX])
    return Settings(
        bridge=values.link(BRIDGE, options[BRIDGE]) if BRIDGE in options else "",
        icc=_flag(ICC, options.get(ICC, "true")),
        masquerade=_flag(MASQUERADE, options.get(MASQUERADE, "true")),
        mtu=values.mtu(network),
        modes=(_mode(network, MODE), _mode(network, MODE_6)),
        gateway=not _flag(INHIBIT, options.get(INHIBIT, "false")),
        trusted=tuple(values.link(TRUSTED, name) for name in options.get(TRUSTED, "").split(":") if name),
    )


def _flag(key: str, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise Invalid(f"option {key}={value!r} is not allowed: true or false is")


def _mode(network: NetworkSpec, key: str) -> str:
    value = network.options.get(key) or NAT
    if value not in _MODES:
        raise Invalid(f"option {key}={value!r} is not allowed: {', '.join(_MODES)} are")
    if value == ISOLATED and not network.internal:
        raise Invalid(f"option {key}={value!r} is not allowed: gateway mode 'isolated' is for internal networks only")
    return value


def _address(key: str, value: str, version: int) -> None:
    with contextlib.suppress(ValueError):
        if not value or ipaddress.ip_address(value).version == version:
            return
    raise Invalid(f"option {key}={value!r} is not allowed: an IPv{version} address is")
