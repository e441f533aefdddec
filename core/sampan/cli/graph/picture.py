"""What the picture shows, read out of the API's lists of networks and containers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sampan.cli.failures import Failure

_ALWAYS_THERE = ("bridge", "host", "none")
_SHARED = "container:"


class Network(NamedTuple):
    """``sealed``: no way out of it, and none in. ``of_host``: the host's own network, which has no name for others."""

    id: str
    name: str
    driver: str
    subnets: tuple[str, ...]
    gateways: tuple[str, ...]
    sealed: bool
    of_host: bool


class Link(NamedTuple):
    """A container's end on a network; ``addresses`` are ``address/prefix``, none while it does not run."""

    network: str
    addresses: tuple[str, ...]
    mac: str

    @property
    def short(self) -> str:
        return " ".join(address.partition("/")[0] for address in self.addresses)


class Port(NamedTuple):
    """A published port, or several in a row: numbers are ``80`` or ``80-89``."""

    address: str
    host_port: str
    port: str
    protocol: str

    @property
    def outside(self) -> str:
        return f"[{self.address}]:{self.host_port}" if ":" in self.address else f"{self.address}:{self.host_port}"

    @property
    def inside(self) -> str:
        return f"{self.port}/{self.protocol}"


class Box(NamedTuple):
    """A container; ``shares`` is the name of the one whose network it lives in."""

    id: str
    name: str
    image: str
    state: str
    links: tuple[Link, ...]
    ports: tuple[Port, ...]
    shares: str

    @property
    def runs(self) -> bool:
        return self.state in ("running", "paused", "restarting")


class Picture(NamedTuple):
    """Networks from left to right, containers from top to bottom: each right before those that share its network."""

    networks: tuple[Network, ...]
    boxes: tuple[Box, ...]

    def plain(self) -> dict[str, Any]:
        """For machines: as JSON, in the API's spelling."""
        return {
            "Networks": [
                {
                    "Id": one.id,
                    "Name": one.name,
                    "Driver": one.driver,
                    "Subnets": list(one.subnets),
                    "Gateways": list(one.gateways),
                    "Sealed": one.sealed,
                    "Containers": [box.name for box in self.boxes if any(on.network == one.name for on in box.links)],
                }
                for one in self.networks
            ],
            "Containers": [
                {
                    "Id": box.id,
                    "Name": box.name,
                    "Image": box.image,
                    "State": box.state,
                    "SharesNetworkOf": box.shares or None,
                    "Networks": [
                        {"Network": on.network, "Addresses": list(on.addresses), "MacAddress": on.mac}
                        for on in box.links
                    ],
                    "Ports": [
                        {"HostIp": one.address, "HostPort": one.host_port, "Port": one.port, "Protocol": one.protocol}
                        for one in box.ports
                    ],
                }
                for box in self.boxes
            ],
        }


def read(networks: Iterable[Mapping[str, Any]], containers: Iterable[Mapping[str, Any]]) -> Picture:
    """``networks`` are the API's ``/networks``, ``containers`` its ``/containers/json``."""
    known = list(containers)
    names = {one["Id"]: _name(one) for one in known}
    boxes = [_box(one, names) for one in known]
    used = {on.network for box in boxes for on in box.links}
    found = (_network(one) for one in networks)
    shown = [one for one in found if one.name in used or one.name not in _ALWAYS_THERE]
    shown.sort(key=lambda one: (not one.of_host, one.sealed, one.name != "bridge", one.name))
    return Picture(tuple(shown), tuple(_in_order(boxes, [one.name for one in shown])))


def chosen(picture: Picture, names: Sequence[str]) -> Picture:
    """Only what is on these networks (names, or beginnings of ids); all if none is named. ``Failure`` for others."""
    if not names:
        return picture
    wanted = set()
    for name in names:
        fits = [one for one in picture.networks if one.name == name] or [
            one for one in picture.networks if name and one.id.startswith(name)
        ]
        if len(fits) != 1:
            raise Failure(f"network {name} is not in the picture: it does not exist, or nothing is on it")
        wanted.add(fits[0].name)
    there = {box.name for box in picture.boxes if any(on.network in wanted for on in box.links)}
    boxes = [box for box in picture.boxes if box.name in there or box.shares in there]
    seen = wanted | {on.network for box in boxes for on in box.links}
    return Picture(tuple(one for one in picture.networks if one.name in seen), tuple(boxes))


def _network(told: Mapping[str, Any]) -> Network:
    driver = str(told["Driver"])
    parts = (told.get("IPAM") or {}).get("Config") or ()
    return Network(
        id=told["Id"],
        name=told["Name"],
        driver="none" if driver == "null" else driver,
        subnets=tuple(part["Subnet"] for part in parts if part.get("Subnet")),
        gateways=tuple(part["Gateway"] for part in parts if part.get("Gateway")),
        sealed=bool(told.get("Internal")) or driver in ("internal", "null", "none"),
        of_host=driver == "host",
    )


def _box(told: Mapping[str, Any], names: Mapping[str, str]) -> Box:
    mode = str((told.get("HostConfig") or {}).get("NetworkMode", ""))
    other = mode.removeprefix(_SHARED) if mode.startswith(_SHARED) else ""
    networks = (told.get("NetworkSettings") or {}).get("Networks") or {}
    return Box(
        id=told["Id"],
        name=_name(told),
        image=told["Image"],
        state=told["State"],
        links=tuple(_link(name, end or {}) for name, end in sorted(networks.items())),
        ports=_ports(told.get("Ports") or ()),
        shares=names.get(other, other[:12]),
    )


def _name(told: Mapping[str, Any]) -> str:
    return str(next(iter(told["Names"] or ()), told["Id"][:12])).lstrip("/")


def _link(network: str, end: Mapping[str, Any]) -> Link:
    pairs = (("IPAddress", "IPPrefixLen"), ("GlobalIPv6Address", "GlobalIPv6PrefixLen"))
    addresses = tuple(f"{end[address]}/{end.get(length, 0)}" for address, length in pairs if end.get(address))
    return Link(network, addresses, end.get("MacAddress") or "")


def _ports(told: Iterable[Mapping[str, Any]]) -> tuple[Port, ...]:
    """The published ones; numbers that follow one another are one entry, as ``docker ps`` shows them, and what is there
    in both versions of IP is one, too."""
    all_ = {(p["Type"], p["IP"], p["PublicPort"], p["PrivatePort"]) for p in told if p.get("PublicPort")}
    found = sorted(one for one in all_ if one[1] != "::" or (one[0], "0.0.0.0", *one[2:]) not in all_)
    runs: list[tuple[str, str, int, int, int]] = []
    for protocol, address, outside, inside in found:
        if runs:
            *same, first, other, length = runs[-1]
            if same == [protocol, address] and (first + length, other + length) == (outside, inside):
                runs[-1] = (protocol, address, first, other, length + 1)
                continue
        runs.append((protocol, address, outside, inside, 1))
    return tuple(Port(ip, _row(out, count), _row(into, count), kind) for kind, ip, out, into, count in runs)


def _row(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _in_order(boxes: Iterable[Box], networks: Sequence[str]) -> list[Box]:
    """By the networks that they are on; who shares another's network comes behind that one."""
    place = {name: at for at, name in enumerate(networks)}

    def key(box: Box) -> tuple[list[int], str]:
        return sorted(place.get(on.network, len(place)) for on in box.links) or [len(place)], box.name

    ordered = sorted(boxes, key=key)
    names = {box.name for box in ordered}
    placed: list[Box] = []

    def put(box: Box) -> None:
        if box not in placed:
            placed.append(box)
            for guest in ordered:
                if guest.shares == box.name:
                    put(guest)

    for box in ordered:
        if box.shares not in names:
            put(box)
    return placed + [box for box in ordered if box not in placed]
