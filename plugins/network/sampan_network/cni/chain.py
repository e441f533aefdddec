"""All plugins of a network for one endpoint: ADD in their order, DEL in the other (specification, section 3).

Those with the capability ``portMappings`` that come after the first are run again when ports change: they get the
result of the chain, and add nothing but the ports.
"""

from __future__ import annotations

from typing import Any

from sampan.drivers.types import PortBinding
from sampan.errors import SampanError, Unsupported
from sampan_network.cni import answers
from sampan_network.cni.configuration import Configuration
from sampan_network.cni.invocation import Endpoint, Programs
from sampan_network.cni.records import Record

PORTS = "portMappings"
_CHECKED_SINCE = (0, 4)


class Chain:
    """``runtime`` are the arguments of capabilities other than ports."""

    def __init__(self, programs: Programs, endpoint: Endpoint, record: Record) -> None:
        self._programs = programs
        self._endpoint = endpoint
        self._configuration = record.configuration
        self._runtime = {"mac": record.mac} if record.mac else {}
        self._wanted = record.wanted
        self._ports = record.ports
        self._result = record.result

    def add(self) -> dict[str, Any]:
        """The whole result. If a plugin fails, all are to be told to delete."""
        for number, plugin in enumerate(self._configuration.plugins):
            answer = self._run("ADD", number, self._result)
            if answer.strip() or self._result is None:  # who adds nothing may say nothing
                self._result = answers.whole(answer, plugin["type"])
        return self._result or {}

    def delete(self) -> list[SampanError]:
        """Goes through all plugins, whatever fails, and gives the failures."""
        failures = []
        for number in reversed(range(len(self._configuration.plugins))):
            try:
                self._run("DEL", number, self._result)
            except SampanError as error:
                failures.append(error)
        return failures

    def publish(self) -> None:
        """Tell the plugins for ports the record's ports."""
        for number in publishers(self._configuration):
            self._run("ADD", number, self._result)

    def unpublish(self) -> None:
        for number in reversed(publishers(self._configuration)):
            self._run("DEL", number, self._result)

    def published(self) -> bool:
        """Do the plugins for ports find theirs as they were made? They are asked where their version knows CHECK."""
        if not _checks(self._configuration.version):
            return False
        try:
            for number in publishers(self._configuration):
                self._run("CHECK", number, self._result)
        except SampanError:
            return False
        return True

    def _run(self, verb: str, number: int, previous: dict[str, Any] | None) -> bytes:
        runtime: dict[str, Any] = {**self._runtime}
        runtime |= {PORTS: [_mapping(port) for port in self._ports]} if self._ports else {}
        runtime |= {"ips": list(self._wanted)} if self._wanted else {}
        version = self._configuration.version
        if verb == "DEL" and not _checks(version):
            previous = None  # not before 0.4.0
        elif previous is not None:
            previous = {**previous, "cniVersion": version}
        return self._programs.run(verb, self._endpoint, self._configuration.request(number, runtime, previous))


def publishers(configuration: Configuration) -> list[int]:
    """The numbers of the plugins that can be told of ports when an endpoint is there already."""
    return [number for number in configuration.able(PORTS) if number]


def check_publishes(configuration: Configuration, network: str) -> None:
    if not publishers(configuration):
        raise Unsupported(
            f"network {network!r} publishes no ports: after its first CNI plugin it needs one with the capability"
            f" {PORTS}, such as portmap"
        )


def _mapping(port: PortBinding) -> dict[str, Any]:
    mapping = {"hostPort": port.host_port, "containerPort": port.container_port, "protocol": port.protocol}
    return mapping | {"hostIP": port.host_ip}


def _checks(version: str) -> bool:
    major, minor = (int(part) for part in version.split(".")[:2])
    return (major, minor) >= _CHECKED_SINCE
