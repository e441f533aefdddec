"""The way of a packet, backwards: from the program that listens in a container to the host's port that leads there.

Each station is looked at whatever the one before it said, as far as that makes sense: the first that is wrong is why
the port is not reachable.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.diagnosis import inside, made, outside
from sampan.diagnosis.marks import fine, wrong
from sampan.drivers.types import Finding, PortBinding
from sampan.errors import SampanError
from sampan.networks.wishes import CONTAINER
from sampan.types import Container, Endpoint, Network, Status


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``says`` is one sentence: where the port is reachable, or why it is not; ``remedy`` what to do then. ``steps``
    are the stations, in their order."""

    container: str
    port: int
    protocol: str
    reachable: bool
    says: str
    remedy: str
    steps: list[Finding]


class _Way(msgspec.Struct, kw_only=True):
    """What is looked for; ``owner`` is whose network namespace it is (the container's own, mostly)."""

    record: Container
    owner: Container
    port: int
    protocol: str

    @property
    def name(self) -> str:
        return f"{self.port}/{self.protocol}"

    @property
    def mode(self) -> str:
        return str(self.owner.host_config["NetworkMode"])

    @property
    def bindings(self) -> list[PortBinding]:
        ends = self.owner.endpoints.values()
        return [one for end in ends for one in end.ports if (one.container_port, one.protocol) == self._key]

    @property
    def _key(self) -> tuple[int, str]:
        return self.port, self.protocol


def walk(parts: Parts, record: Container, port: int, protocol: str) -> Verdict:
    steps = [_runs(record)]
    way = _Way(record=record, owner=record, port=port, protocol=protocol)
    where = ""
    if steps[0].mark == "fine":
        steps += _owners(parts, way)
        if way.mode == "host":
            steps += inside.listening(way.owner.state.pid, port, protocol, [])
            where = f"at port {port} of this host: it is in the host's own network"
        elif all(one.mark != "wrong" for one in steps):
            steps += _contained(parts, way)
            where = _where(parts, way)
    return _verdict(way, steps, where)


def _verdict(way: _Way, steps: list[Finding], where: str) -> Verdict:
    bad = next((one for one in steps if one.mark == "wrong"), None)
    what = f"{way.record.name}:{way.name}"
    return Verdict(
        container=way.record.name,
        port=way.port,
        protocol=way.protocol,
        reachable=bad is None,
        says=f"{what} is not reachable: {bad.says}" if bad else f"{what} is reachable {where}",
        remedy=bad.remedy if bad else "",
        steps=steps,
    )


def _runs(record: Container) -> Finding:
    about, status = "container", record.state.status
    if status is Status.PAUSED:
        return wrong(
            about,
            f"{record.name} is paused: it accepts connections and does not answer",
            f"sampan unpause {record.name}",
        )
    if status not in ALIVE or not record.state.pid:
        said = f"{record.name} does not run: it is {status}"
        return wrong(about, said, f"sampan start {record.name} (sampan logs {record.name} tells why it ended)")
    return fine(about, f"{record.name} runs")


def _owners(parts: Parts, way: _Way) -> Iterator[Finding]:
    """Whose network it is in the end."""
    while way.mode.startswith(CONTAINER):
        try:
            way.owner = parts.registry.find(way.mode.removeprefix(CONTAINER)).record
        except SampanError:
            yield wrong("network", f"the container whose network {way.record.name} shares is gone", "make it again")
            return
        yield fine("network", f"it lives in the network of {way.owner.name}")
        if way.owner.state.status not in ALIVE:
            said = f"{way.owner.name}, whose network it shares, does not run"
            yield wrong("network", said, f"sampan start {way.owner.name}, then sampan restart {way.record.name}")
            return


def _contained(parts: Parts, way: _Way) -> Iterator[Finding]:
    pid = way.owner.state.pid
    ends = {name: end for name, end in way.owner.endpoints.items() if end.spec}
    targets = [text.partition("/")[0] for end in ends.values() if end.spec for text in end.spec.addresses]
    yield from inside.listening(pid, way.port, way.protocol, targets)
    name, end, network = _way_in(parts, way)
    if end is None or network is None:
        yield _nowhere(parts, way)
        return
    yield fine("network", f"{name} leads to it")
    if end.spec:
        yield from inside.link(pid, name, end.spec)
    if not parts.drivers.network(network.spec.driver).features().publish:
        yield from made.endpoint(parts, way.owner, name, end)
        return
    yield from _published(parts, way, name, end)


def _published(parts: Parts, way: _Way, name: str, end: Endpoint) -> Iterator[Finding]:
    bindings = way.bindings
    if not bindings:
        others = ", ".join(sorted({f"{one.container_port}/{one.protocol}" for one in end.ports}))
        also = f" (what is published: {others})" if others else ""
        proposal = f"sampan update --publish-add {way.port}:{way.name} {way.owner.name}"
        yield wrong("published", f"{way.name} is not published{also}", proposal)
    for one in bindings:
        yield outside.binding(one)
    found = made.endpoint(parts, way.owner, name, end)
    mine = {f"port {outside.place(one)}/{one.protocol}" for one in bindings}
    yield from (one for one in found if not one.about.startswith("port ") or one.about in mine)
    for one in bindings:
        yield from outside.shadows(one)
    if bindings and all(outside.is_loopback(one) for one in bindings):
        places = ", ".join(map(outside.place, bindings))
        remedy = f"publish it on another address: sampan update --publish-add ADDRESS:PORT:{way.name} {way.owner.name}"
        yield wrong("published", f"it is published on {places} only: this host reaches it, and no other", remedy)


def _way_in(parts: Parts, way: _Way) -> tuple[str, Endpoint | None, Network | None]:
    """The endpoint by which packets from outside come: the one that has the port, or carries the way out."""
    ends = [(name, end) for name, end in way.owner.endpoints.items() if end.spec]
    for fits in (
        [(name, end) for name, end in ends if any(one in way.bindings for one in end.ports)],
        [(name, end) for name, end in ends if end.spec and end.spec.default_route],
        ends,
    ):
        for name, end in fits:
            network = _network(parts, end)
            if network and not _sealed(parts, network):
                return name, end, network
    return "", None, None


def _network(parts: Parts, end: Endpoint) -> Network | None:
    try:
        return parts.networks.get(end.network)
    except SampanError:
        return None


def _sealed(parts: Parts, network: Network) -> bool:
    features = parts.drivers.network(network.spec.driver).features()
    return network.spec.internal or features.internal or (features.single and not features.addresses)


def _nowhere(parts: Parts, way: _Way) -> Finding:
    """Why no packet comes from outside at all."""
    name, ends = way.owner.name, way.owner.endpoints
    remedy = f"sampan network connect bridge {name}"
    if way.mode == "none" and list(ends) == ["none"]:
        return wrong(
            "network", f"{name} has no network (--network none)", f"sampan network disconnect none {name} && {remedy}"
        )
    if not ends:
        return wrong("network", f"{name} was disconnected from all its networks", remedy)
    if not any(end.spec for end in ends.values()):
        return wrong("network", f"{name} has lost its endpoints on {', '.join(ends)}", f"sampan restart {name}")
    said = f"{name} is on internal networks only ({', '.join(ends)}): nothing from outside comes in there"
    return wrong("network", said, f"{remedy}, if it may be reached from outside")


def _where(parts: Parts, way: _Way) -> str:
    if way.bindings:
        places = outside.all_told(way.bindings)
        return f"at {' and '.join(places)}"
    _, end, _ = _way_in(parts, way)
    addresses = [text.partition("/")[0] for text in end.spec.addresses] if end and end.spec else []
    return f"at port {way.port} of its own address {' and '.join(addresses)}"
