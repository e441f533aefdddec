"""What CNI plugins answer (specification, section 5), read as if they were hostile."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from sampan.errors import Unavailable

_MANY = 64  # addresses and routes of one endpoint
_LONG = 300  # characters of a plugin's own words in a sentence


class Address(msgspec.Struct, frozen=True):
    """``interface`` is a number in the result's list, or None if the plugin does not say whose address it is."""

    address: str
    gateway: str | None = None
    interface: int | None = None


class Interface(msgspec.Struct, frozen=True):
    """``sandbox`` is ``""`` for an interface on the host."""

    name: str
    mac: str | None = None
    sandbox: str | None = None


class Route(msgspec.Struct, frozen=True):
    dst: str
    gw: str | None = None


class Result(msgspec.Struct, frozen=True):
    """The part of a result that is of use here; the whole is handed on as it came."""

    interfaces: list[Interface] | None = None
    ips: list[Address] | None = None
    routes: list[Route] | None = None


class Failure(msgspec.Struct, frozen=True):
    code: int = 0
    msg: str = ""
    details: str = ""


class Given(msgspec.Struct, frozen=True):
    """``addresses`` are ``address/prefix``, IPv4 first; ``ways`` are the gateways of default routes by IP version, or
    ``""`` for one on the link itself."""

    addresses: tuple[str, ...] = ()
    ways: dict[int, str] = {}


def whole(answer: bytes, kind: str) -> dict[str, Any]:
    """An answer to ADD. ``Unavailable`` if it is none."""
    try:
        body = msgspec.json.decode(answer)
        msgspec.convert(body, Result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"CNI plugin {kind!r} answered ADD with what is no result: {_words(str(error))}") from None
    if not isinstance(body, dict):
        raise Unavailable(f"CNI plugin {kind!r} answered ADD with what is no result: an object is needed")
    return body


def given(body: dict[str, Any], interface: str) -> Given:
    """What the endpoint's ``interface`` has got. ``Unavailable`` names what makes no sense."""
    result = msgspec.convert(body, Result)
    interfaces, ips, routes = result.interfaces or [], result.ips or [], result.routes or []
    if len(ips) > _MANY or len(routes) > _MANY:
        raise Unavailable(f"a CNI plugin gave more than {_MANY} addresses or routes to one endpoint")
    own = [one for one in ips if _owned(one, interfaces, interface)]
    addresses = dict.fromkeys(_address(one.address) for one in own)
    gateways = {_plain(one.gateway).version: str(_plain(one.gateway)) for one in reversed(own) if one.gateway}
    ways: dict[int, str] = {}
    for route in routes:
        if (network := _network(route.dst)).prefixlen == 0:
            via = str(_plain(route.gw)) if route.gw else gateways.get(network.version, "")
            ways.setdefault(network.version, via)
    return Given(tuple(sorted(addresses, key=lambda address: ":" in address)), ways)


def failure(answer: bytes, code: int) -> str:
    """Why a plugin failed, in its own words if it has any."""
    try:
        told = msgspec.json.decode(answer, type=Failure)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = Failure()
    words = _words("; ".join(filter(None, (told.msg, told.details))))
    return words or (
        f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code} and said nothing"
    )


def _owned(address: Address, interfaces: list[Interface], name: str) -> bool:
    if address.interface is None:
        return True
    if not 0 <= address.interface < len(interfaces):
        raise Unavailable(
            f"a CNI plugin gave {_words(address.address)} to interface {address.interface}, which is not there"
        )
    there = interfaces[address.interface]
    return bool(there.sandbox) and there.name == name


def _address(text: str) -> str:
    try:
        if "/" not in text:
            raise ValueError
        return str(ipaddress.ip_interface(text))
    except ValueError:
        raise Unavailable(f"a CNI plugin gave {_words(text)!r}, which is no address with a prefix") from None


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise Unavailable(f"a CNI plugin gave {_words(text)!r} as a gateway, which is no address") from None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Unavailable(f"a CNI plugin gave a route to {_words(text)!r}, which is no network") from None


def _words(text: str) -> str:
    """On one line, printable, and not too much."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(plain.split())[:_LONG]
