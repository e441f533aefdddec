"""Links between containers on the default network, which has no names: entries of ``/etc/hosts``, and variables.

A record keeps whom it links to by id, for names may change (``ID:ALIAS``). On networks that users make, links are names
like any other, and belong to the endpoint (:mod:`sampan.networks.names`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from sampan.containers.files import hostfiles
from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.errors import Conflict, Invalid, NotFound
from sampan.types import Container

NETWORK = "bridge"
_HOST = "conflicting options: host type networking can't be used with links. This would result in undefined behavior"


class Link(NamedTuple):
    target: Container
    alias: str


def parse(text: str) -> tuple[str, str]:
    """Name and alias of ``NAME``, ``NAME:ALIAS``, or ``/NAME:/WHOSE/ALIAS``, which is how ``inspect`` tells it."""
    name, colon, alias = text.partition(":")
    if not text:
        raise Invalid("empty string specified for links")
    if not name or ":" in alias or (colon and not alias):
        raise Invalid(f"bad format for links: {text}")
    return name.removeprefix("/"), (alias or name).rpartition("/")[2]


def check(parts: Parts, record: Container) -> None:
    """Find whom a new container links to; ``Invalid`` in Docker's words if that is nobody."""
    host = record.host_config
    if not host["Links"] or NETWORK not in record.endpoints:
        return
    found = []
    for text in host["Links"]:
        name, alias = parse(text)
        try:
            target = _owner(parts, parts.registry.find(name).record)
        except NotFound as error:
            raise Invalid(f"could not get container for {name}: {error.message}") from None
        if target.host_config["NetworkMode"] == "host":
            raise Invalid(_HOST)
        found.append(f"{target.id}:{alias}")
    host["Links"] = list(dict.fromkeys(found))


def targets(record: Container) -> list[str]:
    """The ids of those that it links to on the default network."""
    return [text.partition(":")[0] for text in record.host_config["Links"] or ()] if NETWORK in record.endpoints else []


def of(parts: Parts, record: Container) -> list[Link]:
    """Its links to containers that are still there."""
    if NETWORK not in record.endpoints:
        return []
    pairs = [text.partition(":") for text in record.host_config["Links"] or ()]
    known = [(parts.registry.known(ident), alias) for ident, _, alias in pairs]
    return [Link(entry.record, alias) for entry, alias in known if entry is not None]


def ready(parts: Parts, record: Container) -> list[Link]:
    """Its links, for a container that starts. ``Conflict`` if somebody does not run."""
    found = of(parts, record)
    for target, alias in found:
        if target.state.status not in ALIVE:
            raise Conflict(f"Cannot link to a non running container: /{target.name} AS /{record.name}/{alias}")
        if NETWORK not in target.endpoints:
            raise Conflict(f"Cannot link to /{target.name}, as it does not belong to the default network")
    return found


def told(parts: Parts, record: Container) -> list[str]:
    """As ``inspect`` tells them: ``/NAME:/WHOSE/ALIAS``."""
    return [f"/{target.name}:/{record.name}/{alias}" for target, alias in of(parts, record)]


def names(parts: Parts) -> dict[str, list[str]]:
    """By the ids of those that are linked to: ``/WHOSE/ALIAS``."""
    found: dict[str, list[str]] = {}
    for entry in parts.registry:
        if entry.record.host_config["Links"]:
            for target, alias in of(parts, entry.record):
                found.setdefault(target.id, []).append(f"/{entry.record.name}/{alias}")
    return found


def entries(links: Sequence[Link]) -> list[tuple[str, str]]:
    """Of ``/etc/hosts``: addresses, each with the alias, the host name, and the name if that is another."""
    found = []
    for target, alias in links:
        names = dict.fromkeys((alias, target.config["Hostname"], target.name))
        found += [(address, " ".join(filter(None, names))) for address in _addresses(target)]
    return found


def environment(record: Container, links: Sequence[Link]) -> list[str]:
    """The variables by which Docker tells of links: addresses of exposed ports, and the target's own variables."""
    return [variable for link in links for variable in _variables(record, link)]


def moved(parts: Parts, record: Container) -> None:
    """A container has been started: those that run and link to it hear where it is now."""
    for entry in parts.registry:
        other = entry.record
        if other.host_config["Links"] and other.state.status in ALIVE and record.id in targets(other):
            for target, alias in of(parts, other):
                if target is record:
                    with suppress(OSError):  # it is just ending
                        hostfiles.move_links(parts.bundle(other.id), alias, _addresses(record))


def remove(parts: Parts, name: str) -> None:
    """Remove the link ``/WHOSE/ALIAS``, nothing else; in Docker's words, ``NotFound`` if there is none, ``Conflict`` if
    the name is a container's own."""
    whose, slash, alias = name.strip("/").rpartition("/")
    if not slash and parts.registry.find(name):
        raise Conflict("Conflict, cannot remove the default link name of the container")
    missing = NotFound(f"No such container: {name}")
    try:
        entry = parts.registry.find(whose)
    except NotFound:
        raise missing from None
    with entry.lock:
        record, before = entry.record, entry.record.host_config["Links"]
        rest = [text for text in before or () if text.partition(":")[2] != alias]
        if NETWORK not in record.endpoints or rest == (before or []):
            raise missing
        record.host_config["Links"] = rest or None
        try:
            parts.save(record)
        except BaseException:
            record.host_config["Links"] = before
            raise
        if record.state.status in ALIVE:
            with suppress(OSError):  # it is just ending
                hostfiles.drop_link(parts.bundle(record.id), alias)


def _owner(parts: Parts, record: Container) -> Container:
    """The one whose network the container uses."""
    kind, _, ident = record.host_config["NetworkMode"].partition(":")
    return _owner(parts, parts.registry.find(ident).record) if kind == "container" else record


def _addresses(record: Container) -> Sequence[str]:
    endpoint = record.endpoints.get(NETWORK)
    return endpoint.spec.addresses if endpoint and endpoint.spec else ()


def _variables(record: Container, link: Link) -> Iterator[str]:
    target, alias = link
    name = alias.upper().replace("-", "_")
    address = next((one.partition("/")[0] for one in _addresses(target)), "")
    ports = sorted(_exposed(target.config), key=lambda port: (port[1] != "tcp", port[1], port[0]))
    if ports:
        number, protocol = ports[0]
        yield f"{name}_PORT={protocol}://{address}:{number}"
    for number, protocol in ports:
        prefix = f"{name}_PORT_{number}_{protocol.upper()}"
        yield f"{prefix}={protocol}://{address}:{number}"
        yield f"{prefix}_ADDR={address}"
        yield f"{prefix}_PORT={number}"
        yield f"{prefix}_PROTO={protocol}"
    for first, last, protocol in _ranges(ports):
        prefix = f"{name}_PORT_{first}_{protocol.upper()}"
        yield f"{prefix}_START={protocol}://{address}:{first}"
        yield f"{prefix}_PORT_START={first}"
        yield f"{prefix}_END={protocol}://{address}:{last}"
        yield f"{prefix}_PORT_END={last}"
    yield f"{name}_NAME=/{record.name}/{alias}"
    for variable in target.config["Env"]:
        key, equals, value = variable.partition("=")
        if equals and key not in ("HOME", "PATH"):
            yield f"{name}_ENV_{key}={value}"


def _exposed(config: Mapping[str, object]) -> list[tuple[int, str]]:
    ports = config.get("ExposedPorts")
    keys = ports if isinstance(ports, Mapping) else {}
    pairs = (str(key).partition("/") for key in keys)
    return [(int(number), protocol or "tcp") for number, _, protocol in pairs if number.isdigit()]


def _ranges(ports: Sequence[tuple[int, str]]) -> Iterator[tuple[int, int, str]]:
    """Where ports of one protocol follow one another."""
    if not ports:
        return
    first = ports[0]
    for last, following in pairwise([*ports, (0, "")]):
        if following != (last[0] + 1, last[1]):
            if last != first:
                yield first[0], last[0], first[1]
            first = following
