"""What the API asks."""

from __future__ import annotations

from sampan.containers.parts import Parts
from sampan.diagnosis import machine, made, walk
from sampan.diagnosis.walk import Verdict
from sampan.drivers.types import Finding


class Diagnosis:
    """Thread-safe; changes nothing, and every wait in it has a bound."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def host(self) -> list[Finding]:
        """Everything about this host and this engine."""
        return [*machine.look(self._parts.config, self._parts.ids), *made.look(self._parts)]

    def port(self, reference: str, port: int, protocol: str) -> Verdict:
        """Is a container's port reachable, and if not, why? ``NotFound`` if there is no such container."""
        return walk.walk(self._parts, self._parts.registry.find(reference).record, port, protocol)
