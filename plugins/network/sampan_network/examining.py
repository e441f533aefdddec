"""What ``sampan doctor`` wants to know of a bridge: is all that was made for it still there, and do packets pass?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sampan.drivers.types import Finding
from sampan.errors import SampanError
from sampan.linux import links, sysctl
from sampan.linux.netlink import Netlink
from sampan.linux.setelements import Element
from sampan_network import foreign
from sampan_network.firewall import Firewall

_AGAIN = "restart the daemon: it makes again what is missing"

_TURNED = ("ports4", "anyports4")
"""Where ports are that answer on 127.0.0.1, too."""


class Made(NamedTuple):
    """What should be there. ``link`` is the host's end of the endpoint's pair, ``""`` if it is about the network alone;
    ``gateways`` are the bridge's own addresses; ``ports`` tell a published port beside its element."""

    network: str
    bridge: str
    link: str
    sealed: bool
    gateways: Sequence[str]
    elements: Sequence[Element]
    ports: Sequence[tuple[str, Element]]


def examine(netlink: Netlink, firewall: Firewall, made: Made) -> list[Finding]:
    present = links.links(netlink)
    bridge = present.get(made.bridge)
    found = [_link(made, present.get(made.link), bridge)] if made.link else []
    found += [_bridge(made, bridge)]
    if made.sealed:
        return [*found, *_elements(firewall, made)]
    if bridge:
        found += _addresses(made, links.addresses(netlink).get(bridge.index, ()))
    return [*found, *_forwarding(made), *_elements(firewall, made), *_published(firewall, made), *_others(made)]


def _link(made: Made, link: links.Link | None, bridge: links.Link | None) -> Finding:
    about = f"link {made.link}"
    if link is None:
        return _wrong(about, "the host's end of the container's link is gone", _AGAIN)
    if not link.up:
        return _wrong(about, "the host's end of the container's link is down", f"ip link set {made.link} up")
    if bridge and link.master != bridge.index:
        what = f"the host's end of the container's link is no port of the bridge {made.bridge}"
        return _wrong(about, what, f"ip link set {made.link} master {made.bridge}")
    return Finding(about=about, says=f"the host's end of the container's link is up, on {made.bridge}")


def _bridge(made: Made, bridge: links.Link | None) -> Finding:
    about = f"bridge {made.bridge}"
    if bridge is None:
        return _wrong(about, f"the bridge of the network {made.network} is gone", _AGAIN)
    if not bridge.up:
        return _wrong(about, f"the bridge of the network {made.network} is down", f"ip link set {made.bridge} up")
    return Finding(about=about, says=f"the bridge of the network {made.network} is up")


def _addresses(made: Made, there: Sequence[str]) -> Iterator[Finding]:
    for gateway in made.gateways:
        if gateway not in there:
            what = f"the bridge has lost its address {gateway}, which is its containers' way out"
            yield _wrong(f"bridge {made.bridge}", what, f"ip address add {gateway} dev {made.bridge}")


def _forwarding(made: Made) -> Iterator[Finding]:
    versions = {":" in address for address in made.gateways}
    for setting, six in (("net/ipv4/ip_forward", False), ("net/ipv6/conf/all/forwarding", True)):
        if six not in versions:
            continue
        name, family = setting.replace("/", "."), "IPv6" if six else "IPv4"
        if _is_on(setting):
            yield Finding(about=name, says=f"the host forwards {family}")
        else:
            what = f"the host does not forward {family}: nothing gets from or to a container through it"
            yield _wrong(name, what, f"sysctl -w {name}=1, and look who turned it off")
    setting = f"net/ipv4/conf/{made.bridge}/route_localnet"
    if any(element.set in _TURNED for _, element in made.ports) and not _is_on(setting):
        name = setting.replace("/", ".")
        what = "what was published does not answer on 127.0.0.1: the bridge takes no packets for it any more"
        yield _wrong(name, what, f"sysctl -w {name}=1")


def _is_on(setting: str) -> bool:
    try:
        return sysctl.read(setting) != "0"
    except OSError:
        return False


def _elements(firewall: Firewall, made: Made) -> Iterator[Finding]:
    missing = [one for one in made.elements if not firewall.present(one)]
    about = f"table {firewall.table}"
    if missing:
        what = ", ".join(f"{one.key} in {one.set}" for one in missing)
        yield _wrong(about, f"the firewall has lost what belongs to the network {made.network}: {what}", _AGAIN)
    else:
        yield Finding(about=about, says=f"the firewall knows the network {made.network}")


def _published(firewall: Firewall, made: Made) -> Iterator[Finding]:
    for port, element in made.ports:
        if firewall.present(element):
            says = f"the firewall lets {element.key.replace(' . ', ' ')} in"
            if element.value:
                says = f"the firewall turns {port} round to {element.value.replace(' . ', ':')}"
            yield Finding(about=f"port {port}", says=says)
        else:
            what = (
                f"the firewall has no element for {port} ({element.key} in {element.set}): packets are not turned round"
            )
            yield _wrong(f"port {port}", what, _AGAIN)


def _others(made: Made) -> Iterator[Finding]:
    """Whoever drops what is forwarded: a packet goes through all tables, and the first that drops it has it."""
    try:
        droppers = foreign.forward_droppers(made.bridge)
    except SampanError as error:
        yield Finding(about="other tables", says=f"they cannot be read: {error.message}", mark="note")
        return
    for one in droppers:
        what = f"{one.place} drops what is forwarded (its policy), and no rule of it lets {made.bridge} through"
        yield _wrong(one.place, what, one.remedy(made.bridge))
    if not droppers:
        yield Finding(about="other tables", says="nobody else's firewall drops what is forwarded by its policy")


def _wrong(about: str, says: str, remedy: str) -> Finding:
    return Finding(about=about, says=says, mark="wrong", remedy=remedy)
