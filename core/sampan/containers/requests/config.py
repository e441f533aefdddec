"""From a create request and an image to the complete ``Config`` and ``HostConfig`` that a container keeps.

Every key of the Engine API is there, with Docker's defaults; keys that Docker leaves out when they are empty are left
out. The image's configuration fills what the request leaves open.
"""

from __future__ import annotations

import posixpath
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from sampan import bodies
from sampan.containers import signals
from sampan.containers.bundle import masking, mounts
from sampan.containers.health import healthcheck
from sampan.containers.requests import checks, granted, limits, logconfig, request, security
from sampan.errors import Invalid
from sampan.networks import ports
from sampan.types import Mount

SHM_SIZE = 64 << 20
_LEFT_OUT_WHEN_EMPTY = (
    "ExposedPorts Healthcheck ArgsEscaped NetworkDisabled MacAddress StopSignal StopTimeout Shell Annotations "
    "StorageDriver KernelMemory KernelMemoryTCP"
)
_NULL_WHEN_EMPTY = "Volumes Cmd Entrypoint OnBuild"
_LEFT_OUT = frozenset(_LEFT_OUT_WHEN_EMPTY.split())
_NULL = frozenset(_NULL_WHEN_EMPTY.split())


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine's configuration says for containers that say nothing."""

    runtime: str = "native"
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}


class Request(msgspec.Struct, kw_only=True):
    """A create request that was read and checked, but not yet merged with its image."""

    config: request.Config
    host: request.HostConfig
    networking: dict[str, Any]
    mounts: list[Mount]
    warnings: list[str]


def read(body: Mapping[str, Any]) -> Request:
    """Read and check the body of a create request. Raises ``Invalid`` or ``Unsupported``."""
    rest = {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")}
    config = bodies.read(rest, request.Config)
    given = {key: {} if body.get(key) is None else body[key] for key in ("HostConfig", "NetworkingConfig")}
    host = bodies.read(given["HostConfig"], request.HostConfig, "HostConfig")
    networking = given["NetworkingConfig"]
    if not isinstance(networking, dict):
        raise Invalid("NetworkingConfig must be a JSON object")
    bodies.check_text(networking, "NetworkingConfig")
    _check_endpoints(networking.get("EndpointsConfig"))
    if not config.Image:
        raise Invalid("no image is named: Image must not be empty")
    config.Cmd, config.Entrypoint = _words(config.Cmd), _words(config.Entrypoint)
    checks.check(config, host)
    logconfig.check(host.LogConfig.Type, host.LogConfig.Config)
    warnings = limits.check(host) + granted.warnings(host) + security.warnings(host.SecurityOpt)
    if host.NetworkMode == "host" and host.PortBindings:
        warnings.append("Published ports are discarded when using host network mode")
    wanted = mounts.wanted(host, config.Volumes)
    return Request(config=config, host=host, networking=networking, mounts=wanted, warnings=warnings)


def _check_endpoints(endpoints: Any) -> None:
    """Their types; what they mean is the network room's."""
    where = "NetworkingConfig.EndpointsConfig"
    if not isinstance(endpoints, dict | None):
        raise Invalid(f"{where} must be a JSON object")
    for name, given in (endpoints or {}).items():
        if given is not None:
            bodies.read(given, request.EndpointSettings, f"{where}.{name}")


def _words(value: list[str] | str | None) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def merge(asked: Request, image: Mapping[str, Any]) -> None:
    """Fill from the image's ``config`` (OCI image-spec config.md) what the request leaves open.

    Raises ``Invalid`` if there is nothing to run, or nothing that can be.
    """
    config = asked.config
    _fill(config, image)
    _check_command(config)
    healthcheck.validate_label(config, removed=asked.host.AutoRemove)
    config.Volumes = {**{f"/{path.lstrip('/')}": {} for path in image.get("Volumes") or ()}, **config.Volumes}
    checks.check_strings(config)


def committed(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The ``Config`` of an image of a container whose own is ``own``: what the request says, completed by that as a
    container's is by its image's. Raises ``Invalid``."""
    config = bodies.read(given, request.Config)
    config.Cmd, config.Entrypoint = _words(config.Cmd), _words(config.Entrypoint)
    _fill(config, own)
    config.Volumes = {**(own.get("Volumes") or {}), **config.Volumes}
    return _plain(config)


def _fill(config: request.Config, image: Mapping[str, Any]) -> None:
    config.User = config.User or image.get("User") or ""
    config.WorkingDir = config.WorkingDir or image.get("WorkingDir") or ""
    if config.WorkingDir:
        config.WorkingDir = "/" + posixpath.normpath(config.WorkingDir).lstrip("/")
    config.StopSignal = config.StopSignal or _stop_signal(image.get("StopSignal") or "")
    config.ExposedPorts = {**_ports(image.get("ExposedPorts") or ()), **config.ExposedPorts}
    config.Labels = {**(image.get("Labels") or {}), **config.Labels}
    named = {variable.partition("=")[0] for variable in config.Env}
    config.Env += [variable for variable in image.get("Env") or () if variable.partition("=")[0] not in named]
    config.OnBuild = config.OnBuild or list(image.get("OnBuild") or ())
    config.Shell = config.Shell or list(image.get("Shell") or ())
    _fill_command(config, image)
    config.Healthcheck = healthcheck.merged(config.Healthcheck, image.get("Healthcheck"))


def _stop_signal(text: str) -> str:
    """An image's, if there is such a signal: others must not keep a container from being stopped."""
    try:
        signals.parse(text)
    except Invalid:
        return ""
    return text


def _ports(keys: Iterable[str]) -> dict[str, Any]:
    """Those of an image's that are ports. The others are nobody's, as with dockerd."""
    found: dict[str, Any] = {}
    for key in keys:
        with suppress(Invalid):
            ports.read({key: {}}, {}, False)
            found[key] = {}
    return found


def _fill_command(config: request.Config, image: Mapping[str, Any]) -> None:
    if not config.Entrypoint:
        config.Cmd = config.Cmd or list(image.get("Cmd") or ())
        if config.Entrypoint is None:
            config.Entrypoint = list(image.get("Entrypoint") or ())
    if config.Entrypoint == [""]:
        config.Entrypoint = []


def _check_command(config: request.Config) -> None:
    """An empty name is a command: whoever wants the files of an image that has none makes a container of it so."""
    if not config.Entrypoint and not config.Cmd:
        raise Invalid("no command specified")


def complete(asked: Request, ident: str, defaults: Defaults) -> tuple[dict[str, Any], dict[str, Any]]:
    """The container's ``Config`` and ``HostConfig``."""
    config, host = asked.config, asked.host
    if not config.Hostname and not host.NetworkMode.startswith("container:"):
        shares = host.NetworkMode == "host" or host.UTSMode == "host"
        config.Hostname = socket.gethostname() if shares else ident[:12]
    host.NetworkMode = "bridge" if host.NetworkMode in ("", "default") else host.NetworkMode
    host.PortBindings = {port: _places(places) for port, places in host.PortBindings.items()}
    host.IpcMode = host.IpcMode or "private"
    host.CgroupnsMode = host.CgroupnsMode or "private"
    host.ShmSize = host.ShmSize or SHM_SIZE
    host.Runtime = host.Runtime or defaults.runtime
    host.RestartPolicy.Name = host.RestartPolicy.Name or "no"
    if not host.LogConfig.Type:
        host.LogConfig.Type = defaults.log_driver
        host.LogConfig.Config = {**defaults.log_options, **host.LogConfig.Config}
    if not host.Privileged:
        host.MaskedPaths = masking.masked() if host.MaskedPaths is None else host.MaskedPaths
        host.ReadonlyPaths = list(masking.READ_ONLY) if host.ReadonlyPaths is None else host.ReadonlyPaths
    return _plain(config), _plain(host)


def _places(places: Any) -> Any:
    """Bindings of one port with both keys, which clients read without asking; what is malformed is refused later."""
    if not isinstance(places, list):
        return places
    return [{"HostIp": "", "HostPort": "", **place} if isinstance(place, dict) else place for place in places]


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    if health := plain.get("Healthcheck"):
        plain["Healthcheck"] = {key: item for key, item in health.items() if item}
    for key in _NULL & plain.keys():
        plain[key] = plain[key] or None
    return {key: item for key, item in plain.items() if item or key not in _LEFT_OUT}
