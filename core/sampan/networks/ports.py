"""Published ports: Docker's three ways of asking for them, and who has which port of the host.

``ExposedPorts`` and ``PortBindings`` are keyed ``80/tcp`` or ``80-90/tcp``; a binding's ``HostPort`` is empty or 0
(any free one), a number, or a range of which the first free one is taken (Engine API, ``PortMap``).
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sampan.drivers.types import PortBinding
from sampan.errors import Conflict, Exhausted, Invalid, SampanError
from sampan.linux import sysctl
from sampan.networks import ferries, holding
from sampan.networks.holding import Hold, hold, room

log = logging.getLogger(__name__)

PROTOCOLS = ("tcp", "udp", "sctp")
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_EVERYWHERE = {4: "0.0.0.0", 6: "::"}
_EPHEMERAL = (32768, 60999)  # ip(7), ip_local_port_range
_MOST_CARRIED = 1000  # ports of a container that are published on IPv6 though nobody has said so, and it has none

Key = tuple[str, int, str]
"""Protocol, port and address of the host."""
Holds = dict[Key, Hold]


class Wish(NamedTuple):
    """``host_ip`` is ``""`` for the default; any of the host's ports ``first`` to ``last``, or any at all if 0."""

    protocol: str
    port: int
    host_ip: str = ""
    first: int = 0
    last: int = 0


def read(exposed: Mapping[str, Any], bindings: Mapping[str, Any], publish_all: bool) -> list[Wish]:
    """``Config.ExposedPorts``, ``HostConfig.PortBindings`` and ``PublishAllPorts``; ``Invalid`` names what is wrong."""
    wishes: list[Wish] = []
    bound: set[tuple[str, int]] = set()
    for key, places in bindings.items():
        protocol, ports = _key(key)
        bound.update((protocol, port) for port in ports)
        for place in places or [{}]:
            wishes += _wishes(protocol, ports, place or {})
    keys = [_key(key) for key in exposed]
    if publish_all:
        wishes += [Wish(name, port) for name, ports in keys for port in ports if (name, port) not in bound]
    return wishes


def pinned(wishes: Iterable[Wish], bindings: Iterable[PortBinding]) -> list[Wish]:
    """The wishes, each with the very port of the host that it has been given."""
    left = list(bindings)
    result = []
    for wish in wishes:
        for one in left:
            same = (one.protocol, one.container_port) == (wish.protocol, wish.port)
            if (
                same
                and one.host_port
                and wish.host_ip in ("", one.host_ip)
                and (not wish.first or wish.first <= one.host_port <= wish.last)
            ):
                result.append(wish._replace(first=one.host_port, last=one.host_port))
                left = [each for each in left if each.host_port != one.host_port or each.protocol != one.protocol]
                break
        else:
            result.append(wish)
    return result


class Ports:
    """Which ports of the host belong to which container. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, int], dict[str, str]] = {}
        self._holds: Holds = {}
        self._cursor = 0

    def reserve(
        self,
        owner: str,
        wishes: Sequence[Wish],
        default: Sequence[str],
        routed: Collection[int] = (),
        ferry: bool = False,
    ) -> list[PortBinding]:
        """All of the wishes, or none; ``default`` are the addresses for those that name none. For versions of IP that
        are ``routed``, the host's port that somebody wishes is nobody's, and 0 is given instead, as with Docker.
        ``ferry``: what comes by IPv6 has to be carried (:mod:`sampan.networks.ferries`).

        ``Conflict`` in Docker's words if a port belongs to another container or a process of the host listens on it.
        """
        return self.exchange(owner, (), wishes, default, routed, ferry)[0]

    def exchange(
        self,
        owner: str,
        gone: Sequence[PortBinding],
        wishes: Sequence[Wish],
        default: Sequence[str],
        routed: Collection[int] = (),
        ferry: bool = False,
    ) -> tuple[list[PortBinding], Holds]:
        """The same, and ``gone`` of the same owner goes: its ports may be had again by the wishes, but by nobody else
        before. All of it, or none. What held the ports that are gone is returned, too, for :meth:`take` to go back."""
        given: list[PortBinding] = []
        with self._lock:
            before = self._give_back(owner, gone)
            if ferry:
                default = default if len(wishes) <= _MOST_CARRIED else _without_ipv6(default)
            try:
                for wish in sorted(wishes, key=lambda wish: not wish.first):
                    places = _places(wish, default, ferry)
                    bound = [address for address in places if _version(address) not in routed]
                    given += _opened(wish, {_version(address) for address in places} & set(routed))
                    given += self._grant(owner, wish, bound, before, ferry) if bound else []
            except Exception:
                self._give_back(owner, given)
                self._take(owner, gone, before)
                raise
        return given, before

    def take(self, owner: str, bindings: Iterable[PortBinding], holds: Mapping[Key, Hold] | None = None) -> None:
        """Note ports of a container that was running already, or had them a moment ago, with ``holds``."""
        with self._lock:
            self._take(owner, bindings, holds or {})

    def descriptor(self, binding: PortBinding) -> int:
        """The socket that holds a port, or -1; it stays ours."""
        with self._lock:
            held = self._holds.get(_key_of(binding))
            return held.fd if held else -1

    def release(self, owner: str, bindings: Iterable[PortBinding]) -> None:
        """Give back what belongs to ``owner``."""
        with self._lock:
            self._give_back(owner, bindings)

    def close(self) -> None:
        """Let go of the sockets; who has which port stays known."""
        with self._lock:
            for one in self._holds.values():
                one.close()
            self._holds.clear()

    def _grant(self, owner: str, wish: Wish, addresses: list[str], before: Holds, ferry: bool) -> list[PortBinding]:
        protocol: Any = wish.protocol
        reason: Conflict | None = None
        for port in self._candidates(wish):
            try:
                holds = [(address, self._free((wish.protocol, port, address), before, ferry)) for address in addresses]
            except Conflict as conflict:
                reason = conflict
                continue
            self._keep(wish.protocol, port, holds)
            for address in addresses:
                self._taken.setdefault((wish.protocol, port), {})[address] = owner
            return [
                PortBinding(protocol=protocol, container_port=wish.port, host_ip=address, host_port=port)
                for address in addresses
            ]
        if reason is not None and wish.first and wish.first == wish.last:
            raise Conflict(f"{reason.message}{holding.listener(wish.protocol, wish.first)}")
        span = f"from {wish.first} to {wish.last}" if wish.first else "of the ephemeral range"
        somewhere = f"on {' and '.join(addresses)}"
        raise Exhausted(f"all ports are allocated: none of {wish.protocol} {span} {somewhere} is free")

    def _candidates(self, wish: Wish) -> Iterator[int]:
        if wish.first:
            yield from range(wish.first, wish.last + 1)
            return
        first, last = _ephemeral()
        size = last - first + 1
        start = self._cursor
        for offset in range(size):
            self._cursor = (start + offset + 1) % size
            yield first + (start + offset) % size

    def _free(self, key: Key, before: Holds, ferry: bool) -> Hold:
        protocol, port, address = key
        for other, owner in self._taken.get((protocol, port), {}).items():
            if _clash(address, other):
                raise Conflict(_failed(address, port, f"port is already allocated: container {owner[:12]} has it"))
        landing = ferry and ":" in address
        if key not in before:
            return hold(protocol, address, port, landing=landing)
        if landing:
            before[key].land()
        return before[key]  # it cannot be bound once more, nor could it if it were closed, while a monitor watches it

    def _keep(self, protocol: str, port: int, holds: Iterable[tuple[str, Hold]]) -> None:
        for address, one in holds:
            if len(self._holds) < room():  # else it is closed with the last word of it
                self._holds[protocol, port, address] = one

    def _take(self, owner: str, bindings: Iterable[PortBinding], holds: Mapping[Key, Hold]) -> None:
        for one in bindings:
            if not one.host_port:
                continue
            self._taken.setdefault((one.protocol, one.host_port), {})[one.host_ip] = owner
            try:
                held = holds.get(_key_of(one)) or hold(one.protocol, one.host_ip, one.host_port)
                self._keep(one.protocol, one.host_port, [(one.host_ip, held)])
            except SampanError as error:  # the container has it all the same: the firewall comes first
                log.warning("a port of the running container %s is not held: %s", owner[:12], error.message)

    def _give_back(self, owner: str, bindings: Iterable[PortBinding]) -> Holds:
        """What held them is closed as soon as nobody remembers it."""
        before: Holds = {}
        for one in bindings:
            holders = self._taken.get((one.protocol, one.host_port), {})
            if holders.get(one.host_ip) == owner:
                del holders[one.host_ip]
                if held := self._holds.pop(_key_of(one), None):
                    before[_key_of(one)] = held
            if not holders:
                self._taken.pop((one.protocol, one.host_port), None)
        return before


def _places(wish: Wish, default: Sequence[str], ferry: bool) -> Sequence[str]:
    if wish.host_ip:
        return [wish.host_ip]
    if ferry and wish.protocol not in ferries.PROTOCOLS:
        return _without_ipv6(default)
    return default


def _without_ipv6(addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if _version(address) == 4]


def _key_of(binding: PortBinding) -> Key:
    return binding.protocol, binding.host_port, binding.host_ip


def _opened(wish: Wish, versions: Iterable[int]) -> list[PortBinding]:
    protocol: Any = wish.protocol
    return [
        PortBinding(protocol=protocol, container_port=wish.port, host_ip=_EVERYWHERE[version], host_port=0)
        for version in sorted(versions)
    ]


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _key(key: str) -> tuple[str, range]:
    ports, _, protocol = key.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise Invalid(f"invalid port {key!r}: the protocol is one of {', '.join(PROTOCOLS)}")
    first, last = _span(ports, f"invalid port {key!r}")
    if not first:
        raise Invalid(f"invalid port {key!r}: a number from 1 to 65535 is needed")
    return protocol, range(first, last + 1)


def _wishes(protocol: str, ports: range, place: Mapping[str, Any]) -> Iterator[Wish]:
    address = _address(str(place.get("HostIp") or ""))
    host = str(place.get("HostPort") or "")
    first, last = _span(host, f"invalid host port {host!r} for {ports[0]}/{protocol}") if host else (0, 0)
    pairs = last - first + 1 == len(ports) > 1
    for offset, port in enumerate(ports):
        if first and len(ports) > 1 and not pairs:
            raise Invalid(f"invalid host ports {host!r}: {len(ports)} of them are needed, as many as container ports")
        span = (first + offset, first + offset) if pairs and first else (first, last)
        yield Wish(protocol, port, address, *span)


def _span(text: str, what: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not match or last < first or last > 65535 or (not first and last):
        raise Invalid(f"{what}: a number from 1 to 65535 or a range like 8000-8010 is needed")
    return first, last


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]"))) if text else ""
    except ValueError:
        raise Invalid(f"invalid host address {text!r}: an IPv4 or IPv6 address is needed") from None


def _clash(one: str, other: str) -> bool:
    if (":" in one) != (":" in other):
        return False
    return one == other or "0.0.0.0" in (one, other) or "::" in (one, other)


def _failed(address: str, port: int, reason: str) -> str:
    return f"Bind for {f'[{address}]' if ':' in address else address}:{port} failed: {reason}"


def _ephemeral() -> tuple[int, int]:
    try:
        first, last = sysctl.read("net/ipv4/ip_local_port_range").split()
        return int(first), int(last)
    except (OSError, ValueError):
        return _EPHEMERAL
