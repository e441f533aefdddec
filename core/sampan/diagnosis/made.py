"""Drivers, and what they have made for the networks and containers that there are: whatever is not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from sampan.bounded import bounded
from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.diagnosis.marks import fine, note, wrong
from sampan.drivers.types import Finding
from sampan.errors import SampanError
from sampan.networks import ferries
from sampan.types import Container, Endpoint

PATIENCE = 10.0  # seconds that one network's driver gets to look at one thing


def look(parts: Parts) -> Iterator[Finding]:
    yield from _drivers(parts)
    yield from _networks(parts)


def examined(look: Callable[[], Sequence[Finding]], about: str) -> list[Finding]:
    """What a driver finds; whatever else comes of asking it is a finding, too."""
    try:
        found = list(bounded(look, PATIENCE))
    except TimeoutError:
        return [wrong(about, f"its driver did not look at it within {PATIENCE:g} seconds", "restart the daemon")]
    except (SampanError, OSError) as error:
        return [wrong(about, f"it cannot be looked at: {error}", "see the daemon's log")]
    if not all(isinstance(one, Finding) for one in found):
        return [wrong(about, "its driver answered with what is no finding", "tell the driver's author")]
    return found


def endpoint(parts: Parts, record: Container, name: str, end: Endpoint) -> list[Finding]:
    """What the driver says of a container's end on a network, with its ports."""

    def ask() -> Sequence[Finding]:
        network = parts.networks.get(end.network)
        ports = ferries.driven(end.spec, end.ports) if end.spec else end.ports
        return parts.drivers.network(network.spec.driver).examine(network.spec, end.spec, ports)

    return examined(ask, f"{record.name} on {name}")


def _drivers(parts: Parts) -> Iterator[Finding]:
    used = {("network", network.spec.driver) for network in parts.networks.list()}
    for entry in parts.registry:
        used |= {("storage", entry.record.storage_driver), ("runtime", entry.record.runtime)}
    for one in parts.drivers.found():
        about = f"{one.family} {one.name}"
        if one.usable:
            if one.default:
                yield fine(about, "the default driver works")
        elif one.default or (one.family, one.name) in used:
            yield wrong(
                about, f"it is in use and cannot be used here: {one.reason}", "put that right, or choose another"
            )
        else:
            yield note(about, f"it cannot be used here, and nothing uses it: {one.reason}")


def _networks(parts: Parts) -> Iterator[Finding]:
    networks = parts.networks.list()
    seen: set[tuple[str, str]] = set()
    bad = 0
    for found in _looks(parts):
        if found.mark != "fine" and (found.about, found.says) not in seen:
            seen.add((found.about, found.says))
            bad += found.mark == "wrong"
            yield found
    if not bad:
        yield fine("networks", f"everything that was made for {len(networks)} networks and their containers is there")


def _looks(parts: Parts) -> Iterator[Finding]:
    for network in parts.networks.list():
        spec = network.spec
        try:
            driver = parts.drivers.network(spec.driver)
        except SampanError:
            continue  # told among the drivers
        if warning := parts.networks.warning(network):
            yield note(f"network {spec.name}", warning, "make it again with the right option")
        yield from examined(partial(driver.examine, spec), f"network {spec.name}")
    for entry in list(parts.registry):
        record = entry.record
        if record.state.status in ALIVE:
            for name, end in list(record.endpoints.items()):
                if end.spec:
                    yield from endpoint(parts, record, name, end)
