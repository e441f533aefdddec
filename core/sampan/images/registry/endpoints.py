"""Where a registry is: its addresses, its mirrors', and what is trusted there.

As dockerd does it: https://docs.docker.com/reference/cli/dockerd/#insecure-registries and
https://docs.docker.com/engine/security/certificates/
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import NamedTuple

from sampan.config import RegistriesConfig, RegistryHost
from sampan.errors import Invalid
from sampan.images.references import DOMAIN

HUB = "registry-1.docker.io"


class Trust(NamedTuple):
    """``authorities`` and ``clients`` (certificate and key) are files in PEM; ``insecure``: nobody is checked.
    ``written`` tells whether any of the files is another than before."""

    insecure: bool = False
    authorities: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()
    written: tuple[int, ...] = ()


class Endpoint(NamedTuple):
    """``base`` is a URL without a path: ``https://registry.example:5000``."""

    base: str
    trust: Trust
    is_mirror: bool = False


def find(domain: str, config: RegistriesConfig, *, mirrors: bool = False) -> list[Endpoint]:
    """Where to ask for what is in ``domain`` (as in a reference), in this order. ``Invalid``: its certificates."""
    host = config.hosts.get(domain, RegistryHost())
    found = []
    for url in host.mirrors if mirrors else ():
        name = url.partition("://")[2]
        found.append(Endpoint(url, _trust(name, config), is_mirror=True))
    server = HUB if domain == DOMAIN else domain
    trust = _trust(domain, config)
    schemes = ("https", "http") if trust.insecure else ("https",)
    return found + [Endpoint(f"{scheme}://{server}", trust) for scheme in schemes]


def is_local(domain: str) -> bool:
    """This host itself: no secret leaves it, so plain HTTP will do, as with dockerd."""
    host = domain.rpartition("]")[0].lstrip("[") if domain.startswith("[") else domain.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(domain: str, config: RegistriesConfig) -> Trust:
    host = config.hosts.get(domain, RegistryHost())
    authorities = [host.ca_file] if host.ca_file else []
    clients = []
    directory = Path(config.certificates) / domain
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.suffix == ".crt":
            authorities.append(str(path))
        elif path.suffix == ".cert":
            key = path.with_suffix(".key")
            if not key.exists():
                raise Invalid(f"missing key {key.name} for client certificate {path}")
            clients.append((str(path), str(key)))
    files = [*authorities, *(name for pair in clients for name in pair)]
    written = tuple(Path(file).stat().st_mtime_ns for file in files if Path(file).exists())
    return Trust(host.insecure or is_local(domain), tuple(authorities), tuple(clients), written)
