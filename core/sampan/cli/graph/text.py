"""The picture for a terminal: the host on top, a line down for each network, a row for each container on its lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from sampan.cli.graph.picture import Box, Network, Picture

_LEFT = "  "
_COLORS = (34, 32, 35, 33, 36, 31)
_PLAIN_RAIL, _SEALED_RAIL = "│", "┆"
_NOTHING = "No networks: no container runs, and nobody has made a network."


def colorful() -> bool:
    """Is colour welcome? (https://no-color.org)"""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def text(picture: Picture, *, color: bool = False) -> str:
    if not picture.networks and not picture.boxes:
        return _NOTHING
    rails = _Rails(picture, color)
    lines = [*_host(picture, rails), *_networks(picture, rails), rails.plain()]
    for box in picture.boxes:
        lines += [*_box(box, rails), rails.plain()]
    while lines and lines[-1] == rails.plain():
        lines.pop()
    return "\n".join(line.rstrip() for line in lines)


class _Rails:
    """The lines that come down from the host, one per network, three columns apart."""

    def __init__(self, picture: Picture, color: bool) -> None:
        self._networks = picture.networks
        self._color = color

    def paint(self, index: int, word: str) -> str:
        return f"\x1b[{_COLORS[index % len(_COLORS)]}m{word}\x1b[0m" if self._color else word

    def rail(self, index: int) -> str:
        return _SEALED_RAIL if self._networks[index].sealed else _PLAIN_RAIL

    def plain(self) -> str:
        return _LEFT + "".join(self.paint(at, self.rail(at)) + "  " for at in range(len(self._networks)))

    def begin(self, index: int) -> str:
        """The row in which a network's line gets its name; sealed ones have no line above theirs."""
        row = ""
        for at, one in enumerate(self._networks):
            if at < index:
                row += self.paint(at, self.rail(at)) + "  "
            elif at == index:
                row += self.paint(at, "╤──" if one.sealed else "┿──")
            else:
                row += self.paint(index, "─") if one.sealed else self.paint(at, _PLAIN_RAIL)
                row += self.paint(index, "──")
        return _LEFT + row

    def on(self, box: Box) -> str:
        """The row of a container: a stop on each line that it is on, and a way from there to its name."""
        stops = {at for at, one in enumerate(self._networks) if any(on.network == one.name for on in box.links)}
        if not stops:
            return self.plain()
        first, mark = min(stops), "●" if box.runs else "○"
        row = ""
        for at in range(len(self._networks)):
            way = "──" if at >= first else "  "
            sign = mark if at in stops else self.rail(at)
            row += self.paint(at, sign) + way
        return _LEFT + row


def _host(picture: Picture, rails: _Rails) -> Iterator[str]:
    published = [(port.outside, box.name, port.inside) for box in picture.boxes for port in box.ports]
    wide = [max((len(one[column]) for one in published), default=0) for column in range(3)]
    rows = [f"{o.rjust(wide[0])}  ▶  {n.ljust(wide[1])}  {i.ljust(wide[2])}" for o, n, i in published]
    rows = rows or ["no port is published"]
    inner = max(max(map(len, rows)) + 4, 3 * len(picture.networks) + 4)
    yield f"╭─ host {'─' * (inner - 7)}╮"
    for row in rows:
        yield f"│  {row.ljust(inner - 2)}│"
    bottom = "─" + "".join(
        ("─" if one.sealed else rails.paint(at, "┬")) + "──" for at, one in enumerate(picture.networks)
    )
    yield f"╰{bottom}{'─' * (inner - 1 - 3 * len(picture.networks))}╯"


def _networks(picture: Picture, rails: _Rails) -> Iterator[str]:
    wide = max((len(one.name) for one in picture.networks), default=0)
    for at, one in enumerate(picture.networks):
        yield f"{rails.begin(at)} {rails.paint(at, one.name.ljust(wide))}  {_about(one)}"


def _about(network: Network) -> str:
    said = [" ".join((network.driver, *network.subnets))]
    if network.of_host:
        said = ["the host's own addresses and ports"]
    elif network.sealed:
        said.append("sealed: no way out, none in")
    elif network.gateways:
        said.append(f"gateway {' '.join(network.gateways)}")
    return " · ".join(said)


def _box(box: Box, rails: _Rails) -> Iterator[str]:
    state = "" if box.state == "running" else f" · {box.state}"
    name = f"{rails.on(box)} {box.name}  ({box.image}{state})"
    facts = [f"{on.network} {on.short}".rstrip() for on in box.links]
    facts += [f"{port.inside} ◀ {port.outside}" for port in box.ports]
    if box.shares:
        facts.append(f"lives in the network of {box.shares}")
    elif not box.links:
        facts.append("on no network")
    if len(facts) == 1:
        yield f"{name}  {facts[0]}"
        return
    yield name
    for at, fact in enumerate(facts):
        yield f"{rails.plain()} {'╰' if at == len(facts) - 1 else '├'}╴{fact}"
