"""The three files under ``/etc`` that an engine writes for a container: hosts, hostname, resolv.conf.

They live in the container's bundle and are written at each start, with what Docker puts in them.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan.containers.checks import GATEWAY
from sampan.types import Container

HOSTS, HOSTNAME, RESOLV = "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"
_BASIS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_STUB = "127.0.0.53"
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
_FALLBACK = ("8.8.8.8", "8.8.4.4")


def write(
    container: Container,
    bundle: Path,
    *,
    gateway: str,
    defaults: Mapping[str, Sequence[str]],
    resolver: str = "",
    owner: tuple[int, int] = (0, 0),
) -> None:
    """Write the files into ``bundle``. ``gateway`` is the address that ``host-gateway`` means.

    ``resolver`` is the address of the network's own name server, if it has one; ``defaults`` are the engine's ``dns``
    and ``dns_search``. ``owner`` (uid, gid) may change them.
    """
    of_host = container.host_config["NetworkMode"] == "host"
    (bundle / "hostname").write_text(container.config["Hostname"] + "\n")
    (bundle / "hosts").write_text(hosts(container, gateway=gateway, basis=_read(HOSTS) if of_host else _BASIS))
    text = resolv(container.host_config, resolver=resolver, defaults=defaults, of_host=of_host)
    (bundle / "resolv.conf").write_text(text)
    if owner != (0, 0):
        for path in places(bundle).values():
            os.chown(path, *owner)


def places(bundle: Path) -> dict[str, Path]:
    """Where in the container each file goes."""
    return {RESOLV: bundle / "resolv.conf", HOSTNAME: bundle / "hostname", HOSTS: bundle / "hosts"}


def hosts(container: Container, *, gateway: str, basis: str) -> str:
    """The content of ``/etc/hosts`` (hosts(5)): ``basis``, the user's entries, the container's own addresses."""
    lines = []
    for entry in container.host_config["ExtraHosts"] or ():
        name, _, address = entry.partition(":")
        address = (gateway or "127.0.0.1") if address == GATEWAY else address.strip("[]")
        lines.append(f"{address}\t{name}\n")
    name, domain = container.config["Hostname"], container.config["Domainname"]
    names = f"{name}.{domain} {name}" if domain else name
    own = [address for endpoint in container.endpoints.values() if endpoint.spec for address in endpoint.spec.addresses]
    lines += [f"{address.partition('/')[0]}\t{names}\n" for address in own]
    return (basis if basis.endswith("\n") else basis + "\n") + "".join(lines)


def resolv(host: Mapping[str, Any], *, resolver: str, defaults: Mapping[str, Sequence[str]], of_host: bool) -> str:
    """The content of ``/etc/resolv.conf`` (resolv.conf(5)): the host's, with what the user or the engine overrides.

    Servers on the host's loopback are of no use in a network namespace of one's own and are left out.
    """
    servers, search, options = _parsed(_read(RESOLV))
    if not of_host:
        if _STUB in servers and _RESOLVED.exists():
            servers, search, options = _parsed(_read(str(_RESOLVED)))
        servers = [server for server in servers if not _is_loopback(server)] or list(_FALLBACK)
    servers = list(host["Dns"] or defaults.get("dns") or servers)
    search = list(host["DnsSearch"] or defaults.get("dns_search") or search)
    options = list(host["DnsOptions"] or options)
    if resolver:
        servers = [resolver]
        options = options if any(option.startswith("ndots:") for option in options) else [*options, "ndots:0"]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search and search != ["."] else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _parsed(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.partition("#")[0].partition(";")[0].split():
            case ["nameserver", address, *_]:
                servers.append(address)
            case ["search" | "domain", *domains]:
                search = domains
            case ["options", *given]:
                options += given
    return servers, search, options


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return True


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
