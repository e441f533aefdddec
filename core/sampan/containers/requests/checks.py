"""What a create request may say: names, addresses, modes; and what is refused because it would not be honoured.

An option that would change how the container behaves and that this version cannot do is ``Unsupported``, never
silently left out.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from sampan import quantities
from sampan.containers import signals
from sampan.containers.bundle import capabilities, devices
from sampan.containers.health import healthcheck
from sampan.containers.life import restart
from sampan.containers.requests import security
from sampan.containers.requests.request import Config, HostConfig
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.images.registry import platforms
from sampan.types import Image

HOST_NAME_MAX = 64  # gethostname(2)
_HOST_NAME = re.compile(r"[^\s\x00-\x1f\x7f/:#]+")  # odd names are in use; only what would break /etc/hosts is refused
GATEWAY = "host-gateway"


def check(config: Config, host: HostConfig) -> None:
    """Raises ``Invalid`` or ``Unsupported`` with one sentence."""
    _check_names(config, host)
    _check_environment(config)
    healthcheck.validate(config.Healthcheck)
    healthcheck.validate_label(config, removed=host.AutoRemove)
    _check_addresses(host)
    _check_modes(config, host)
    restart.validate(host.RestartPolicy.Name, host.RestartPolicy.MaximumRetryCount)
    if host.AutoRemove and host.RestartPolicy.Name not in ("", "no"):
        raise Invalid("can't create 'AutoRemove' container with restart policy")
    capabilities.normalise(host.CapAdd, "CapAdd")
    capabilities.normalise(host.CapDrop, "CapDrop")
    security.parse(host.SecurityOpt)
    _check_sysctls(host)
    devices.check(host)
    _refuse(host)


def _check_names(config: Config, host: HostConfig) -> None:
    for name, what in ((config.Hostname, "hostname"), (config.Domainname, "domain name")):
        if len(name.encode()) > HOST_NAME_MAX:
            raise Invalid(f'{what} "{name}" is too long (maximum {HOST_NAME_MAX} bytes)')
        if name and not _HOST_NAME.fullmatch(name):
            raise Invalid(f"invalid {what} format: {name}")
    if config.StopSignal:
        signals.parse(config.StopSignal)
    if config.WorkingDir and not config.WorkingDir.startswith("/"):
        raise Invalid(f"the working directory '{config.WorkingDir}' is invalid, it needs to be an absolute path")
    if any(not key for key in host.Annotations):
        raise Invalid("invalid Annotations: the empty string is not permitted as an annotation key")
    if any(not key for key in config.Labels):
        raise Invalid("invalid label: the empty string is not permitted as a label's name")
    if re.search(r"[\n/]", config.User):
        raise Invalid(f"invalid user: {config.User!r}")


def check_strings(config: Config) -> None:
    """That the kernel takes what a program is to be started with, whoever has said so, client or image. ``Invalid``."""
    _check_environment(config)
    for key in ("User", "WorkingDir", "Entrypoint", "Cmd", "Env", "Volumes"):
        said = getattr(config, key) or ()
        if any("\0" in text for text in ([said] if isinstance(said, str) else said)):
            raise Invalid(f"{key} contains a NUL character, which no program can be given")


def _check_environment(config: Config) -> None:
    for variable in config.Env:
        if not variable.partition("=")[0]:
            raise Invalid(f"invalid environment variable: {variable}")


def _check_addresses(host: HostConfig) -> None:
    for entry in host.ExtraHosts or ():
        name, separator, address = entry.partition(":")
        if not separator or not _HOST_NAME.fullmatch(name):
            raise Invalid(f'bad format for add-host: "{entry}"')
        if address != GATEWAY and not _is_address(address.strip("[]")):
            raise Invalid(f'invalid IP address in add-host: "{address}"')
    for address in host.Dns:
        if not _is_address(address):
            raise Invalid(f"invalid DNS address: {address} is not an IP address")
    for domain in host.DnsSearch:
        if domain != "." and not re.fullmatch(r"[^\s#;]{1,253}", domain):
            raise Invalid(f"{domain!r} is not a valid domain")
    for option in host.DnsOptions:
        if not re.fullmatch(r"[^\s#;]{1,253}", option):
            raise Invalid(f"{option!r} is not a valid DNS option")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_modes(config: Config, host: HostConfig) -> None:
    for key, name, modes in (
        ("IpcMode", "IPC", ("", "none", "private", "shareable", "host")),
        ("PidMode", "PID", ("", "host")),
        ("UTSMode", "UTS", ("", "host")),
        ("UsernsMode", "user", ("", "host")),
    ):
        mode = getattr(host, key)
        joins = key in ("IpcMode", "PidMode") and re.fullmatch(r"container:.+", mode)
        if mode not in modes and not joins:
            raise Invalid(f"invalid {name} mode: {mode}")
    if host.UTSMode == "host" and (config.Hostname or config.Domainname):
        raise Invalid("conflicting options: hostname and the UTS mode")
    if host.Isolation not in ("", "default"):
        raise Invalid(f"invalid isolation '{host.Isolation}' on linux")
    if host.NetworkMode == "host" and host.Links:
        what = "host type networking can't be used with links. This would result in undefined behavior"
        raise Invalid(f"conflicting options: {what}")
    if host.NetworkMode.startswith("container:"):
        _check_shared_network(config, host)


def _check_shared_network(config: Config, host: HostConfig) -> None:
    for given, what in (
        (config.Hostname, "hostname and the network mode"),
        (host.Links, "container type network can't be used with links. This would result in undefined behavior"),
        (host.Dns, "dns and the network mode"),
        (host.ExtraHosts, "custom host-to-IP mapping and the network mode"),
        (host.PortBindings or host.PublishAllPorts, "port publishing and the container type network mode"),
        (config.ExposedPorts, "port exposing and the container type network mode"),
    ):
        if given:
            raise Invalid(f"conflicting options: {what}")


def _check_sysctls(host: HostConfig) -> None:
    """Only what lives in a namespace of the container's own (runtime-spec config-linux.md, "Sysctl")."""
    for name, value in host.Sysctls.items():
        path = name.replace("/", ".")
        shared = {
            "net.": host.NetworkMode == "host" and "network",
            "fs.mqueue.": host.IpcMode == "host" and "IPC",
            "kernel.msg": host.IpcMode == "host" and "IPC",
            "kernel.sem": host.IpcMode == "host" and "IPC",
            "kernel.shm": host.IpcMode == "host" and "IPC",
        }
        known = next((start for start in shared if path.startswith(start)), None)
        if not re.fullmatch(r"[a-zA-Z0-9_.:/-]+", name) or ".." in path or known is None or "\n" in value:
            raise Invalid(f"sysctl '{name}={value}' is not in a namespace of the container")
        if shared[known]:
            raise Invalid(f"sysctl '{name}={value}' is not allowed: the container uses the host's {shared[known]} mode")


def _refuse(host: HostConfig) -> None:
    for given, what in ((host.Cgroup, "the cgroup of another container"),):
        if given:
            raise Unsupported(f"not supported yet: {what}")
    unknown = set(host.StorageOpt) - {"size"}
    if unknown:
        raise Invalid(f"unknown storage option: {min(unknown)}, only size is known")


def check_platform(text: str, image: Image, name: str) -> None:
    """``linux``, ``linux/amd64``, ``amd64`` or nothing. ``NotFound`` if the image, which the user calls ``name``, is
    for another, ``Invalid`` for what is none."""
    if not text:
        return
    found, wanted = platforms.of(image.config), platforms.parse(text)
    if found not in platforms.runnable(wanted):
        raise NotFound(platforms.mismatch(name, found, wanted))


def platform_warnings(asked_for: str, image: Image) -> list[str]:
    """Docker's, for an image of another kind of machine that nobody has asked for."""
    found, here = platforms.of(image.config), platforms.parse("")
    if asked_for or found.architecture in {each.architecture for each in platforms.runnable(here)}:
        return []
    what = f"The requested image's platform ({found}) does not match the detected host platform ({here})"
    return [f"{what} and no specific platform was requested"]


def size(text: str) -> int:
    """``10G``, ``1.5g``, ``512m`` or bytes. Raises ``Invalid``."""
    with suppress(ValueError):
        if found := quantities.size(text):
            return found
    raise Invalid(f"invalid size: '{text}', expected a number with k, m, g, t or p behind it")
