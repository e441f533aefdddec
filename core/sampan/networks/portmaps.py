"""Other published ports for a container that exists: its ``PortBindings`` with some more and some less.

What is taken away is named as it is published, ``[address:][host port:]port/protocol``: what is not said fits anything,
and a port that the engine has picked is named by what it picked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sampan.drivers.types import PortBinding
from sampan.errors import NotFound
from sampan.networks import ports
from sampan.networks.ports import Wish

PortMap = Mapping[str, Any]


def edited(old: PortMap, add: PortMap, remove: PortMap, given: Sequence[PortBinding], name: str) -> dict[str, Any]:
    """The new ``PortBindings``. ``given`` are the ports that the container ``name`` has now, if it runs.

    ``NotFound`` for something to be removed that is not there, ``Invalid`` for what is no port.
    """
    wishes = ports.read({}, old, False)
    for gone in ports.read({}, remove, False):
        fits = _named(wishes, gone) or _picked(wishes, gone, given)
        if not fits:
            raise NotFound(f"No public port '{_told(gone)}' published for {name}")
        for wish in fits:
            wishes.remove(wish)
    return _written([*wishes, *ports.read({}, add, False)])


def divided(
    given: Sequence[PortBinding], remove: PortMap, wishes: Iterable[Wish]
) -> tuple[list[PortBinding], list[PortBinding], list[Wish]]:
    """What a container has now, ``given``, as what it keeps and what it loses; and the wishes that have nothing yet."""
    named = ports.read({}, remove, False)
    left = [one for one in given if not any(_could_be(one, gone) for gone in named)]
    kept: list[PortBinding] = []
    fresh: list[Wish] = []
    for wish in sorted(wishes, key=_vagueness):
        fits = [one for one in left if _could_be(one, wish)]
        own = [one for one in fits if one.host_port == fits[0].host_port]
        kept += own
        left = [one for one in left if one not in own]
        if not own:
            fresh.append(wish)
    return kept, [one for one in given if one not in kept], fresh


def _named(wishes: Iterable[Wish], gone: Wish) -> list[Wish]:
    """The wishes that say what is to go."""
    return [
        wish
        for wish in wishes
        if (wish.protocol, wish.port) == (gone.protocol, gone.port)
        and _same_address(gone.host_ip, wish.host_ip)
        and (not gone.first or (wish.first and gone.first <= wish.first and wish.last <= gone.last))
    ]


def _picked(wishes: Iterable[Wish], gone: Wish, given: Iterable[PortBinding]) -> list[Wish]:
    """Those that left it to the engine, which has picked what is to go."""
    left = sorted(wishes, key=_vagueness)
    found: list[Wish] = []
    for port in {one.host_port: one for one in given if _could_be(one, gone)}.values():
        wish = next((each for each in left if _could_be(port, each)), None)
        if wish is not None:
            left.remove(wish)
            found.append(wish)
    return found


def _could_be(binding: PortBinding, wish: Wish) -> bool:
    """May the wish have been given this?"""
    if (binding.protocol, binding.container_port) != (wish.protocol, wish.port):
        return False
    if not binding.host_port:  # on a network that is routed, what is wished of the host is passed over
        return True
    return wish.host_ip in ("", binding.host_ip) and (not wish.first or wish.first <= binding.host_port <= wish.last)


def _vagueness(wish: Wish) -> tuple[bool, int, bool]:
    """Who wants something in particular is asked first whether this is it."""
    return not wish.first, wish.last - wish.first, not wish.host_ip


def _same_address(named: str, has: str) -> bool:
    """Whoever names all addresses means those that were left to the engine, too."""
    return named in ("", has) or (named in ("0.0.0.0", "::") and has == "")


def _written(wishes: Iterable[Wish]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for wish in wishes:
        entry = {"HostIp": wish.host_ip, "HostPort": _span(wish)}
        made.setdefault(f"{wish.port}/{wish.protocol}", []).append(entry)
    return made


def _span(wish: Wish) -> str:
    if not wish.first:
        return ""
    return str(wish.first) if wish.first == wish.last else f"{wish.first}-{wish.last}"


def _told(gone: Wish) -> str:
    host = f"[{gone.host_ip}]" if ":" in gone.host_ip else gone.host_ip
    return ":".join(part for part in (host, _span(gone), f"{gone.port}/{gone.protocol}") if part)
