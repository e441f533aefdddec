"""The picture in Graphviz's language (https://graphviz.org/doc/info/lang.html): ``… | dot -Tpng``."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.cli.graph.picture import Box, Network, Picture

_HEAD = """graph networks {
  graph [rankdir=LR, ranksep=1.2, fontname="sans-serif"];
  node [shape=box, style=rounded, fontname="sans-serif"];
  edge [fontname="monospace", fontsize=10];
  host [label="host", shape=box3d, style=""];"""


def dot(picture: Picture) -> str:
    lines = [_HEAD]
    for network in picture.networks:
        lines += _network(network)
    for box in picture.boxes:
        lines += _box(box, picture)
    return "\n".join([*lines, "}"])


def _network(network: Network) -> Iterator[str]:
    name = quoted(f"network {network.name}")
    words = [network.name, " ".join((network.driver, *network.subnets)), *(["sealed"] if network.sealed else [])]
    style = "dashed" if network.sealed else "filled"
    yield f'  {name} [label={quoted(*words)}, shape=ellipse, style={style}, fillcolor="#e8f0fb"];'
    if not network.sealed:
        yield f"  host -- {name} [label={quoted(*network.gateways)}];"


def _box(box: Box, picture: Picture) -> Iterator[str]:
    name = quoted(f"container {box.name}")
    words = [box.name, box.image, *([] if box.state == "running" else [box.state])]
    yield f'  {name} [label={quoted(*words)}, style="rounded{"" if box.runs else ",dashed"}"];'
    for on in box.links:
        yield f"  {quoted(f'network {on.network}')} -- {name} [label={quoted(*on.addresses)}];"
    for port in box.ports:
        label = quoted(f"{port.outside} → {port.inside}")
        yield f"  host -- {name} [label={label}, dir=forward, style=bold, constraint=false];"
    if any(other.name == box.shares for other in picture.boxes):
        yield f'  {quoted(f"container {box.shares}")} -- {name} [label="shares its network", style=dotted];'


def quoted(*lines: str) -> str:
    """A quoted string, one line below the other."""
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
