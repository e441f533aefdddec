"""What a client asks of a new network (Engine API, ``NetworkCreateRequest``), checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sampan import bodies
from sampan.drivers.types import Subnet
from sampan.errors import Forbidden, Invalid, Unsupported
from sampan.networks import subnets

PREDEFINED = ("bridge", "host", "none")
"""Networks that are always there."""

RESERVED = (*PREDEFINED, "default", "container")
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_. -]*[a-zA-Z0-9_.-])?")  # Docker's clients put spaces into names


class _Range(msgspec.Struct, kw_only=True):
    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] = {}


class _Ipam(msgspec.Struct, kw_only=True):
    Driver: str = ""
    Options: dict[str, str] | None = None
    Config: list[_Range] = []


class _ConfigFrom(msgspec.Struct, kw_only=True):
    Network: str = ""


class _Body(msgspec.Struct, kw_only=True):
    Name: str = ""
    Driver: str = ""
    Scope: str = ""
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    ConfigFrom: _ConfigFrom = msgspec.field(default_factory=_ConfigFrom)
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    IPAM: _Ipam = msgspec.field(default_factory=_Ipam)
    Options: dict[str, str] = {}
    Labels: dict[str, str] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``driver`` is ``""`` for the default one; without ``subnets`` of an IP version, the pools give one.
    ``config_from`` is the name of a configuration-only network, or ``""``."""

    name: str
    driver: str
    subnets: tuple[Subnet, ...]
    internal: bool
    attachable: bool
    ipv4: bool
    ipv6: bool
    options: dict[str, str]
    labels: dict[str, str]
    ipam_options: dict[str, str] | None
    config_only: bool = False
    config_from: str = ""


def read(body: Mapping[str, Any]) -> Request:
    """``Invalid``, ``Forbidden`` or ``Unsupported`` say what cannot be."""
    given = bodies.read(dict(body), _Body)
    if given.Name in RESERVED:
        raise Forbidden(f"operation is not permitted on predefined {given.Name} network")
    if not _NAME.fullmatch(given.Name):
        what = "letters, digits, spaces and '_.-' are allowed, a letter or digit first"
        raise Invalid(f"invalid network name {given.Name!r}: {what}")
    _refuse_swarms(given)
    if given.IPAM.Driver not in ("", "default"):
        raise Unsupported(f"IPAM driver {given.IPAM.Driver!r} is not known: only 'default' is")
    ranges = subnets.read([msgspec.to_builtins(one) for one in given.IPAM.Config])
    versions = _versions(given, ranges)
    return Request(
        name=given.Name,
        driver=given.Driver,
        subnets=ranges,
        internal=given.Internal,
        attachable=given.Attachable,
        ipv4=4 in versions,
        ipv6=6 in versions,
        options=given.Options,
        labels=given.Labels,
        ipam_options=given.IPAM.Options,
        config_only=given.ConfigOnly,
        config_from=given.ConfigFrom.Network,
    )


def _refuse_swarms(given: _Body) -> None:
    if given.Ingress:
        raise Unsupported("Ingress networks are for swarms, and this engine has none")
    if given.Scope not in ("", "local"):
        raise Unsupported(f"networks of scope {given.Scope!r} are for swarms: only local ones can be made")


def _versions(body: _Body, ranges: Sequence[Subnet]) -> set[int]:
    """Who gives an IPv6 subnet wants IPv6; who switches IPv4 off cannot give a subnet of it."""
    given = {6 if ":" in one.subnet else 4 for one in ranges}
    if body.EnableIPv4 is not False:
        given.add(4)
    elif 4 in given:
        raise Invalid("IPv4 is switched off, and yet an IPv4 subnet is given: leave out one of the two")
    if body.EnableIPv6:
        given.add(6)
    if not given:
        raise Invalid("IPv4 or IPv6 must be enabled")
    return given
