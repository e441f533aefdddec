"""Which containers a list's filters choose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from sampan.api.query import Filters
from sampan.api.times import nanoseconds
from sampan.api.views import endpoints
from sampan.errors import Invalid, NotFound
from sampan.types import Container, Status

if TYPE_CHECKING:
    from sampan.engine import Engine


class ContainerFilter:
    """``wanted(container)``; a filter that makes no sense is ``Invalid`` before any container is looked at."""

    KNOWN: ClassVar[tuple[str, ...]] = (
        *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "label!", "name"),
        *("network", "publish", "since", "status", "until", "volume"),
    )

    def __init__(self, engine: Engine, filters: Filters) -> None:
        self._filters = filters
        self._exited = {_whole(text, "exited") for text in filters.get("exited")}
        self._names = [_pattern(text) for text in filters.get("name")]
        self._images = {ident for text in filters.get("ancestor") for ident in _ancestors(engine, text)}
        self._before = [nanoseconds(engine.containers.get(ref).created) for ref in filters.get("before")]
        self._since = [nanoseconds(engine.containers.get(ref).created) for ref in filters.get("since")]
        self._until = filters.until()
        self._ports = {name: [_ports(text, name) for text in filters.get(name)] for name in ("publish", "expose")}
        self._check()

    @property
    def asks_for_states(self) -> bool:
        return "status" in self._filters or "exited" in self._filters

    def __call__(self, container: Container) -> bool:
        filters = self._filters
        return not filters or (
            filters.labels(container.config.get("Labels"))
            and self._is_named(container)
            and self._is_as_old(container)
            and self._is_in_state(container)
            and self._has_things(container)
        )

    def _check(self) -> None:
        allowed = {"status": {*map(str, Status)}, "health": {"starting", "healthy", "unhealthy", "none"}}
        for name, values in allowed.items():
            for value in self._filters.get(name):
                if value not in values:
                    raise Invalid(f"invalid filter '{name}={value}': one of {', '.join(sorted(values))} is expected")

    def _is_named(self, container: Container) -> bool:
        filters = self._filters
        return (
            ("id" not in filters or any(container.id.startswith(ident) for ident in filters.get("id")))
            and ("name" not in filters or any(p.search(f"/{container.name}") for p in self._names)
                 or any(p.search(container.name) for p in self._names))
            and ("ancestor" not in filters or container.image in self._images)
        )  # fmt: skip

    def _is_as_old(self, container: Container) -> bool:
        if not (self._before or self._since or self._until is not None):
            return True
        created = nanoseconds(container.created)
        return (
            all(created < limit for limit in self._before)
            and all(created > limit for limit in self._since)
            and (self._until is None or created < self._until)
        )

    def _is_in_state(self, container: Container) -> bool:
        filters, state = self._filters, container.state
        if "status" in filters and str(state.status) not in filters.get("status"):
            return False
        if self._exited and (state.status is not Status.EXITED or state.exit_code not in self._exited):
            return False
        health = state.health.status if state.health else "none"
        if "health" in filters and health not in filters.get("health"):
            return False
        return filters.flag("is-task") is not True

    def _has_things(self, container: Container) -> bool:
        filters = self._filters
        volumes = {place for m in container.mounts for place in (m.name or m.source, m.target)}
        return (
            ("network" not in filters or any(_is_on(container, network) for network in filters.get("network")))
            and ("volume" not in filters or not volumes.isdisjoint(filters.get("volume")))
            and self._has_ports(container)
        )

    def _has_ports(self, container: Container) -> bool:
        published, exposed = self._ports["publish"], self._ports["expose"]
        if not published and not exposed:
            return True
        ports = endpoints.port_list(container)
        public = [(p["PublicPort"], p["Type"]) for p in ports if "PublicPort" in p]
        private = [(p["PrivatePort"], p["Type"]) for p in ports]
        return _meet(published, public) and _meet(exposed, private)


def _pattern(text: str) -> re.Pattern[str]:
    """dockerd reads names as regular expressions; only the anchors are honoured here, since a pattern of a stranger
    can keep Python's engine busy for ever."""
    start, text = text.startswith("^"), text.removeprefix("^")
    end, text = text.endswith("$"), text.removesuffix("$")
    return re.compile(f"{'^' if start else ''}{re.escape(text)}{'$' if end else ''}")


def _ancestors(engine: Engine, text: str) -> list[str]:
    try:
        return [engine.images.get(text).id]
    except NotFound:
        return []


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"invalid filter '{name}={text}': a whole number is expected") from None


def _is_on(container: Container, network: str) -> bool:
    """By the network's name, or by what its id begins with."""
    return any(e.network.startswith(network) or e.network_name == network for e in container.endpoints.values())


def _ports(text: str, name: str) -> tuple[range, str]:
    """``80``, ``80/tcp`` or ``8000-8010/udp``."""
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    return range(_whole(first, name), _whole(last if dash else first, name) + 1), protocol or "tcp"


def _meet(wanted: list[tuple[range, str]], there: list[tuple[int, str]]) -> bool:
    return not wanted or any(port in ports and kind == of for port, kind in there for ports, of in wanted)
