"""What a user may say of one bridge network (``docker network create -o KEY=VALUE``), checked.

The keys are Docker's (https://docs.docker.com/engine/network/drivers/bridge/#options).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from sampan.drivers.types import NetworkSpec
from sampan.errors import Invalid
from sampan.linux.links import NAME_MAX

BRIDGE = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"

SMALLEST_MTU, LARGEST_MTU = 68, 65535
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}  # Go's strconv.ParseBool, in any case


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``bridge`` is ``""`` where the driver picks the name, ``mtu`` 0 where it picks that."""

    bridge: str = ""
    icc: bool = True
    masquerade: bool = True
    binding: str = ""
    mtu: int = 0


def parse(network: NetworkSpec) -> Settings:
    """``Invalid`` names the option, its value and what is allowed."""
    known = {BRIDGE, ICC, MASQUERADE, BINDING, MTU}
    if unknown := sorted(network.options.keys() - known):
        named = ", ".join(sorted(known))
        raise Invalid(f"network driver {network.driver!r} knows no option {unknown[0]!r}; it knows {named}")
    options = network.options
    return Settings(
        bridge=_link(BRIDGE, options[BRIDGE]) if BRIDGE in options else "",
        icc=_flag(ICC, options.get(ICC, "true")),
        masquerade=_flag(MASQUERADE, options.get(MASQUERADE, "true")),
        binding=_address(BINDING, options[BINDING]) if BINDING in options else "",
        mtu=_mtu(MTU, options.get(MTU, "0")),
    )


def _flag(key: str, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise Invalid(f"option {key}={value!r} is not allowed: true or false is")


def _mtu(key: str, value: str) -> int:
    if value.isascii() and value.isdecimal() and (int(value) == 0 or SMALLEST_MTU <= int(value) <= LARGEST_MTU):
        return int(value)
    raise Invalid(f"option {key}={value!r} is not allowed: a number from {SMALLEST_MTU} to {LARGEST_MTU} is")


def _link(key: str, value: str) -> str:
    if len(value) <= NAME_MAX and _NAME.fullmatch(value):
        return value
    raise Invalid(f"option {key}={value!r} is not allowed: 1 to {NAME_MAX} letters, digits and '_.-' are")


def _address(key: str, value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise Invalid(f"option {key}={value!r} is not allowed: an IPv4 address is") from None
