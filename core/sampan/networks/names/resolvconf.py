"""What ``/etc/resolv.conf`` says (resolv.conf(5)): the host's, and what a container's should."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HOSTS_OWN = Path("/etc/resolv.conf")
SERVER = "127.0.0.11"
"""Where containers on networks with names find the engine's name server."""

_STUB = "127.0.0.53"
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
_FALLBACK = ("8.8.8.8", "8.8.4.4")
_DOTS = "ndots:"


class Resolving(NamedTuple):
    """``of_host``: the servers are those that the host itself uses, and are asked from there."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    of_host: bool = True

    @property
    def dots(self) -> bool:
        """Has somebody said that names with few dots are to be tried with the search domains first?"""
        return any(option.startswith(_DOTS) and option != f"{_DOTS}0" for option in self.options)


def parsed(text: str) -> Resolving:
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
    return Resolving(tuple(servers), tuple(search), tuple(options))


def read(path: Path) -> Resolving:
    """Nothing, if the file cannot be read."""
    try:
        return parsed(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return Resolving()


def wanted(host_config: Mapping[str, Any], defaults: Mapping[str, Sequence[str]]) -> Resolving:
    """What the container asks for, else what the engine's ``dns`` and ``dns_search`` say, else what the host has."""
    host = read(HOSTS_OWN)
    servers = host_config.get("Dns") or defaults.get("dns") or ()
    search = host_config.get("DnsSearch") or defaults.get("dns_search") or host.search
    options = host_config.get("DnsOptions") or host.options
    return Resolving(
        tuple(map(str, servers)) or host.servers,
        tuple(domain for domain in search if domain != "."),
        tuple(options),
        not servers,
    )


def content(resolving: Resolving, *, named: bool, in_host: bool) -> str:
    """What a container's file says. ``named``: the engine's name server is asked; ``in_host``: it has no network
    namespace of its own. If it has, servers on the host's loopback are of no use, and others are told in their place.
    """
    servers, options = resolving.servers, resolving.options
    if named:
        servers = (SERVER,)
        options = options if any(option.startswith(_DOTS) for option in options) else (*options, f"{_DOTS}0")
    elif resolving.of_host and not in_host:
        servers = elsewhere(servers) or _FALLBACK
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(resolving.search)}"] if resolving.search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n" + (_told(resolving) if named else "")


def elsewhere(servers: Sequence[str]) -> tuple[str, ...]:
    """Of the host's servers those that can be asked from other network namespaces than the host's."""
    if _STUB in servers and _RESOLVED.exists():
        servers = read(_RESOLVED).servers
    return tuple(server for server in servers if not _is_loopback(server))


def _told(resolving: Resolving) -> str:
    """For who wonders where the answers come from."""
    servers = [f"host({one})" if resolving.of_host else one for one in resolving.servers]
    return f"\n# ExtServers: [{' '.join(servers)}]\n"


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return True
