"""Values of options that users give their networks (``docker network create -o KEY=VALUE``), checked.

Each function gives the value, or raises ``Invalid``, which names option, value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from sampan.drivers.types import NetworkSpec
from sampan.errors import Invalid
from sampan.linux.links import NAME_MAX

MTU = "com.docker.network.driver.mtu"
SMALLEST_MTU, LARGEST_MTU = 68, 65535
SYSCTLS = "com.docker.network.endpoint.sysctls"
"""An option of an endpoint: ``net.ipv4.conf.IFNAME.log_martians=1,…``; IFNAME, in any case, is its interface."""

_SYSCTL = re.compile(r"(net\.(?:ipv4|ipv6|mpls)\.(?:[a-z0-9_]+\.)*)(?i:IFNAME)((?:\.[a-z0-9_]+)+)=([^=/]{1,64})")
_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


def check_known(network: NetworkSpec, known: Collection[str]) -> None:
    if unknown := sorted(network.options.keys() - set(known)):
        named = ", ".join(sorted(known))
        raise Invalid(f"network driver {network.driver!r} knows no option {unknown[0]!r}; it knows {named}")


def mtu(network: NetworkSpec) -> int:
    """In bytes; 0 where the user does not say."""
    value = network.options.get(MTU, "0")
    if value.isascii() and value.isdecimal() and (int(value) == 0 or SMALLEST_MTU <= int(value) <= LARGEST_MTU):
        return int(value)
    raise Invalid(f"option {MTU}={value!r} is not allowed: a number from {SMALLEST_MTU} to {LARGEST_MTU} is")


def link(key: str, value: str) -> str:
    """The name of a link."""
    if len(value) <= NAME_MAX and _LINK.fullmatch(value):
        return value
    raise Invalid(f"option {key}={value!r} is not allowed: 1 to {NAME_MAX} letters, digits and '_.-@' are")


def sysctls(options: Mapping[str, str], interface: str) -> dict[str, str]:
    """What an endpoint's options want set inside: paths below ``/proc/sys`` and values."""
    found = {}
    for text in filter(None, options.get(SYSCTLS, "").split(",")):
        match = _SYSCTL.fullmatch(text)
        if match is None:
            like = "represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V'"
            raise Invalid(f"unrecognised network interface sysctl {text!r}; {like}")
        before, after, value = match.groups()
        found[f"{before.replace('.', '/')}{interface}{after.replace('.', '/')}"] = value
    return found
