"""The picture as SVG: one file that needs nothing else, for light and dark.

On the left the host's published ports, then the containers, a card each; on the right a line for each network, which
comes down from the host, unless it is sealed. Widths are estimated, for nobody here can measure text.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from sampan.cli.graph.picture import Box, Network, Picture
from sampan.cli.graph.style import STYLE
from sampan.cli.output import ellipsis

_EDGE = 28
_HOST = 46  # height of the host's bar
_HEADER = 74  # height of a network's sign
_LEAD = 40  # between the host's bar and the signs
_LANE = 24  # between two of a card's ways to its networks, and between two of its ports
_GAP = 22  # between two cards
_COLORS = 6
_NAME, _SMALL, _MONO = 8.2, 6.5, 6.7  # width of a character: names, what is small, addresses


class _Plan(NamedTuple):
    """Where things are, from left to right."""

    ports: float
    cards: float
    card: float
    rails: tuple[float, ...]
    width: float
    top: float


def svg(picture: Picture) -> str:
    plan = _plan(picture)
    tops, bottom = _rows(picture, plan)
    last = _ends(picture, tops, plan)
    parts = [_host(plan), _trunk(picture, tops, plan)]
    parts += [_rail(one, plan, at, last[at]) for at, one in enumerate(picture.networks)]
    parts += [_sign(one, plan, at) for at, one in enumerate(picture.networks)]
    for box, top in zip(picture.boxes, tops, strict=True):
        parts += [_ways(box, top, picture, plan), _ports(box, top, plan), _card(box, top, plan)]
    parts += _shares(picture, tops, plan)
    size = f"{plan.width:g} {bottom:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{plan.width:g}" height="{bottom:g}" '
        f'role="img" aria-labelledby="what">\n<title id="what">{escape(_told(picture))}</title>\n'
        f"<style>{STYLE}</style>\n"
        + '<rect class="ground" width="100%" height="100%"/>\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _plan(picture: Picture) -> _Plan:
    longest = max((len(port.outside) for box in picture.boxes for port in box.ports), default=0)
    ports = longest * _MONO + 24 if longest else 0
    inside = max((len(port.inside) for box in picture.boxes for port in box.ports), default=0)
    cards = _EDGE + ports + (inside * _MONO + 60 if longest else 20)
    named = [max(len(box.name) * _NAME, len(_said(box)) * _SMALL) + 36 for box in picture.boxes]
    card = min(270, max([150, *named]))
    x = cards + card
    rails = []
    for network in picture.networks:
        width = _width(network, picture)
        rails.append(x + width - 12)
        x += width
    return _Plan(
        _EDGE, cards, card, tuple(rails), max(x + 70, cards + card + _EDGE, 420), _EDGE + _HOST + _LEAD + _HEADER
    )


def _width(network: Network, picture: Picture) -> float:
    """Of the column left of a network's line: room for its sign and for the addresses at its stops."""
    addresses = [len(on.short) for box in picture.boxes for on in box.links if on.network == network.name]
    sign = max([len(network.name) * _NAME, *(len(line) * _SMALL for line in _about(network))])
    return max(118, sign + 44, max(addresses, default=0) * _MONO + 44)


def _rows(picture: Picture, plan: _Plan) -> tuple[list[float], float]:
    """Each card's top, and the picture's bottom."""
    y = plan.top + _GAP + 6
    tops = []
    for box in picture.boxes:
        tops.append(y)
        y += _height(box) + (10 if _followed(picture, box) else _GAP)
    return tops, y + _EDGE - _GAP + (_GAP if picture.networks else 0)


def _followed(picture: Picture, box: Box) -> bool:
    at = picture.boxes.index(box)
    return at + 1 < len(picture.boxes) and bool(picture.boxes[at + 1].shares)


def _height(box: Box) -> float:
    return max(52, _LANE * len(box.ports) + 12, _LANE * len(box.links) + 12)


def _lanes(box: Box, top: float, count: int) -> list[float]:
    middle = top + _height(box) / 2
    return [middle + (at - (count - 1) / 2) * _LANE for at in range(count)]


def _ends(picture: Picture, tops: Iterable[float], plan: _Plan) -> list[float]:
    """How far down each network's line goes: to its last stop."""
    last = [plan.top + 16.0 for _ in picture.networks]
    for box, top in zip(picture.boxes, tops, strict=True):
        for at, y in _stops(box, top, picture):
            last[at] = max(last[at], y)
    return last


def _stops(box: Box, top: float, picture: Picture) -> list[tuple[int, float]]:
    """(number of the network, height) of each of a card's ways, the farthest one lowest."""
    order = [at for at, one in enumerate(picture.networks) if any(on.network == one.name for on in box.links)]
    return list(zip(order, _lanes(box, top, len(order)), strict=True))


def _host(plan: _Plan) -> str:
    width = plan.width - 2 * _EDGE
    return (
        f'<rect class="host" x="{_EDGE}" y="{_EDGE}" width="{width:g}" height="{_HOST}" rx="10"/>'
        f'<text class="name on-host" x="{_EDGE + 18}" y="{_EDGE + 29}">host</text>'
        f'<text class="small on-host" x="{plan.width - _EDGE - 18:g}" y="{_EDGE + 28}" text-anchor="end">'
        "the way out and in</text>"
    )


def _trunk(picture: Picture, tops: list[float], plan: _Plan) -> str:
    """From the host down to the last of its ports."""
    ends = [_lanes(box, top, len(box.ports))[-1] for box, top in zip(picture.boxes, tops, strict=True) if box.ports]
    return f'<path class="trunk" d="M{plan.ports + 14:g} {_EDGE + _HOST}V{ends[-1]:g}"/>' if ends else ""


def _rail(network: Network, plan: _Plan, at: int, end: float) -> str:
    x, kind = plan.rails[at], f"c{at % _COLORS}"
    sealed = " sealed" if network.sealed else ""
    up = "" if network.sealed else f'<path class="rail {kind}" d="M{x:g} {_EDGE + _HOST}V{plan.top - _HEADER}"/>'
    gateway = ""
    if not network.sealed and network.gateways:
        gateway = (
            f'<text class="mono" x="{x - 8:g}" y="{_EDGE + _HOST + 24}" text-anchor="end">'
            f"{escape(' '.join(network.gateways))}</text>"
        )
    return f'{up}{gateway}<path class="rail {kind}{sealed}" d="M{x:g} {plan.top}V{end:g}"/>'


def _about(network: Network) -> list[str]:
    if network.of_host:
        return ["the host's own", "addresses and ports"]
    last = " ".join(network.subnets)
    return [f"{network.driver}, sealed" if network.sealed else network.driver, last]


def _sign(network: Network, plan: _Plan, at: int) -> str:
    lines = _about(network)
    width = max(96, len(network.name) * _NAME + 24, *(len(line) * _SMALL + 24 for line in lines))
    right, top = plan.rails[at] + 14, plan.top - _HEADER
    left = right - width
    sealed = " sealed" if network.sealed else ""
    lock = _lock(right - 22, top + 10) if network.sealed else ""
    rows = "".join(
        f'<text class="small" x="{left + 12:g}" y="{top + 42 + 18 * row}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )
    return (
        f'<g class="c{at % _COLORS}"><title>{escape(_about_all(network))}</title>'
        f'<rect class="sign{sealed}" x="{left:g}" y="{top}" width="{width:g}" height="{_HEADER}" rx="9"/>'
        f'<text class="name" x="{left + 12:g}" y="{top + 23}">{escape(network.name)}</text>{rows}{lock}</g>'
    )


def _lock(x: float, y: float) -> str:
    return (
        f'<path class="lock" d="M{x + 2:g} {y + 6:g}v-2a4 4 0 0 1 8 0v2"/>'
        f'<rect class="lock-body" x="{x:g}" y="{y + 6:g}" width="12" height="9" rx="2"/>'
    )


def _about_all(network: Network) -> str:
    sealed = ": no way out, and none in" if network.sealed else ""
    return f"network {network.name}, {network.driver}{sealed}"


def _ways(box: Box, top: float, picture: Picture, plan: _Plan) -> str:
    start = plan.cards + plan.card
    by_name = {on.network: on for on in box.links}
    parts = []
    for at, y in _stops(box, top, picture):
        kind, x = f"c{at % _COLORS}", plan.rails[at]
        address = by_name[picture.networks[at].name].short
        label = f'<text class="mono" x="{x - 12:g}" y="{y - 5:g}" text-anchor="end">{escape(address)}</text>'
        parts.append(
            f'<path class="over" d="M{start:g} {y:g}H{x:g}"/><path class="way {kind}" d="M{start:g} {y:g}H{x:g}"/>'
            f'{label}<circle class="stop {kind}{"" if box.runs else " idle"}" cx="{x:g}" cy="{y:g}" r="6"/>'
        )
    return "".join(parts)


def _ports(box: Box, top: float, plan: _Plan) -> str:
    """From the host's port on the left into the card, with the port inside at the arrow's end."""
    parts = []
    for port, y in zip(box.ports, _lanes(box, top, len(box.ports)), strict=True):
        width = len(port.outside) * _MONO + 20
        parts.append(
            f'<path class="arrow" d="M{plan.ports + width:g} {y:g}H{plan.cards - 7:g}"/>'
            f'<path class="head" d="M{plan.cards - 9:g} {y - 4.5:g}l9 4.5l-9 4.5z"/>'
            f'<rect class="port" x="{plan.ports}" y="{y - 10:g}" width="{width:g}" height="20" rx="10"/>'
            f'<text class="mono on-port" x="{plan.ports + 10}" y="{y + 4:g}">{escape(port.outside)}</text>'
            f'<text class="mono" x="{plan.cards - 14:g}" y="{y - 5:g}" text-anchor="end">{escape(port.inside)}</text>'
        )
    return "".join(parts)


def _card(box: Box, top: float, plan: _Plan) -> str:
    height, indent = _height(box), 22 if box.shares else 0
    x, width = plan.cards + indent, plan.card - indent
    middle = top + height / 2
    said = _said(box)
    name = ellipsis(box.name, int((width - 28) / _NAME))
    return (
        f"<g><title>{escape(f'{box.name}, {said}, {box.id[:12]}')}</title>"
        f'<rect class="card{"" if box.runs else " idle"}" x="{x:g}" y="{top:g}" width="{width:g}" '
        f'height="{height:g}" rx="9"/>'
        f'<text class="name" x="{x + 14:g}" y="{middle - 3:g}">{escape(name)}</text>'
        f'<text class="small" x="{x + 14:g}" y="{middle + 15:g}">'
        f"{escape(ellipsis(said, int((width - 24) / _SMALL)))}</text></g>"
    )


def _said(box: Box) -> str:
    return box.image if box.state == "running" else f"{box.image} · {box.state}"


def _shares(picture: Picture, tops: list[float], plan: _Plan) -> list[str]:
    """A bracket from a card to those that live in its network."""
    at = {box.name: (top, _height(box)) for box, top in zip(picture.boxes, tops, strict=True)}
    parts = []
    for box in picture.boxes:
        if box.shares in at:
            top, height = at[box.shares]
            end = at[box.name][0] + at[box.name][1] / 2
            parts.append(
                f'<path class="shares" d="M{plan.cards + 10:g} {top + height:g}V{end:g}h12">'
                f"<title>{escape(f'{box.name} lives in the network of {box.shares}')}</title></path>"
            )
    return parts


def _told(picture: Picture) -> str:
    """For those who cannot see it."""
    said = []
    for one in picture.networks:
        there = [box.name for box in picture.boxes if _on(box, one)]
        said.append(f"{one.name}: {', '.join(there) or 'nobody'}")
    return "Networks and who is on them. " + "; ".join(said)


def _on(box: Box, network: Network) -> bool:
    return any(on.network == network.name for on in box.links)
