"""What a client asks of a new network (Engine API, ``NetworkCreateRequest``), checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sampan.drivers.types import Subnet
from sampan.errors import Forbidden, Invalid, Unsupported
from sampan.networks import subnets

PREDEFINED = ("bridge", "host", "none")
"""Networks that are always there."""

RESERVED = (*PREDEFINED, "default", "container")
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_. -]*[a-zA-Z0-9_.-])?")  # Docker's clients put spaces into names


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``driver`` is ``""`` for the default one; without ``subnets`` of an IP version, the pools give one."""

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


def read(body: Mapping[str, Any]) -> Request:
    """``Invalid``, ``Forbidden`` or ``Unsupported`` say what cannot be."""
    name = str(body.get("Name") or "")
    if name in RESERVED:
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"invalid network name {name!r}: letters, digits, spaces and '_.-' are allowed, a letter or digit first"
        )
    for key in ("ConfigOnly", "Ingress"):
        if body.get(key):
            raise Unsupported(f"{key} networks are for swarms, and this engine has none")
    if (body.get("Scope") or "local") != "local":
        raise Unsupported(f"networks of scope {body['Scope']!r} are for swarms: only local ones can be made")
    ipam = body.get("IPAM") or {}
    if (ipam.get("Driver") or "default") != "default":
        raise Unsupported(f"IPAM driver {ipam['Driver']!r} is not known: only 'default' is")
    if (body.get("ConfigFrom") or {}).get("Network"):
        raise Unsupported("no network holds only a configuration here: give this one its options itself")
    ranges = subnets.read(ipam.get("Config") or [])
    versions = _versions(body, ranges)
    return Request(
        name=name,
        driver=str(body.get("Driver") or ""),
        subnets=ranges,
        internal=bool(body.get("Internal")),
        attachable=bool(body.get("Attachable")),
        ipv4=4 in versions,
        ipv6=6 in versions,
        options=_texts(body.get("Options"), "option"),
        labels=_texts(body.get("Labels"), "label"),
        ipam_options=None if ipam.get("Options") is None else _texts(ipam["Options"], "IPAM option"),
    )


def _versions(body: Mapping[str, Any], ranges: Sequence[Subnet]) -> set[int]:
    """Who gives an IPv6 subnet wants IPv6; who switches IPv4 off cannot give a subnet of it."""
    given = {6 if ":" in one.subnet else 4 for one in ranges}
    if body.get("EnableIPv4") is not False:
        given.add(4)
    elif 4 in given:
        raise Invalid("IPv4 is switched off, and yet an IPv4 subnet is given: leave out one of the two")
    if body.get("EnableIPv6"):
        given.add(6)
    if not given:
        raise Invalid("IPv4 or IPv6 must be enabled")
    return given


def _texts(values: object, what: str) -> dict[str, str]:
    if not isinstance(values or {}, dict):
        raise Invalid(f"{what}s must be a mapping of texts to texts")
    pairs: Mapping[Any, Any] = values or {}  # type: ignore[assignment]
    for key, value in pairs.items():
        if not isinstance(value, str):
            raise Invalid(f"{what} {key!r} must have a text as its value, not {value!r}")
    return dict(pairs)
