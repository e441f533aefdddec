"""The three files under ``/etc`` that an engine writes for a container: hosts, hostname, resolv.conf.

They live in the container's bundle and are written at each start, with what Docker puts in them. The container's own
are mounts of these files, so while it runs they are changed in place; what somebody has changed inside stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sampan.containers.requests.checks import GATEWAY
from sampan.networks.names import resolvconf
from sampan.types import Container

HOSTS, HOSTNAME, RESOLV = "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"
_BASIS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_HASH = "resolv.conf.hash"  # of what we wrote
_LARGEST = 1 << 20  # bytes: what somebody inside has made larger is left alone

Defaults = Mapping[str, Sequence[str]]
"""The engine's ``dns`` and ``dns_search``."""


def write(
    container: Container,
    bundle: Path,
    *,
    gateway: str,
    defaults: Defaults,
    named: bool = False,
    linked: Sequence[tuple[str, str]] = (),
    owner: tuple[int, int] = (0, 0),
) -> None:
    """Write the files into ``bundle``. ``gateway`` is the address that ``host-gateway`` means.

    ``named``: the container asks the engine's name server. ``linked`` are more entries of ``/etc/hosts``: address and
    names. ``owner`` (uid, gid) may change the files.
    """
    of_host = container.host_config["NetworkMode"] == "host" and not container.host_config["ExtraHosts"]
    (bundle / "hostname").write_text(container.config["Hostname"] + "\n")
    basis = _read(HOSTS) if of_host else _BASIS
    (bundle / "hosts").write_text(hosts(container, gateway=gateway, basis=basis, linked=linked))
    _write_resolv(bundle, resolv(container, defaults, named=named))
    if owner != (0, 0):
        for path in places(bundle).values():
            os.chown(path, *owner)


def update(
    container: Container,
    bundle: Path,
    *,
    come: Iterable[str] = (),
    gone: Iterable[str] = (),
    named: bool,
    defaults: Defaults,
) -> None:
    """The running container has the addresses (``address/prefix``) ``come`` and no longer ``gone``; ``named``: it asks
    the engine's name server from now on, or no longer. What was changed inside stays as it is."""
    names = _own_names(container)
    lines = _edit(bundle / "hosts")
    if lines is not None:
        old = {_line(address, names) for address in gone}
        new = [line for address in come if (line := _line(address, names)) not in lines]
        _overwrite(bundle / "hosts", "".join([line for line in lines if line not in old] + new))
    text = _read(str(bundle / "resolv.conf"))
    if _hash(text) == _read(str(bundle / _HASH)):
        _write_resolv(bundle, resolv(container, defaults, named=named))


def move_links(bundle: Path, alias: str, addresses: Iterable[str]) -> None:
    """Somebody that the running container links to as ``alias`` has other addresses (``address/prefix``) now."""
    lines = _edit(bundle / "hosts")
    if lines is None:
        return
    plain = [address.partition("/")[0] for address in addresses]
    for at, line in enumerate(lines):
        old, _, names = line.rstrip("\n").partition("\t")
        if alias in names.split()[:1]:
            new = next((one for one in plain if (":" in one) == (":" in old)), old)
            lines[at] = f"{new}\t{names}\n"
    _overwrite(bundle / "hosts", "".join(lines))


def drop_link(bundle: Path, alias: str) -> None:
    """The running container does not link to anybody as ``alias`` any more."""
    lines = _edit(bundle / "hosts")
    if lines is not None:
        kept = [line for line in lines if alias not in line.partition("\t")[2].split()[:1]]
        _overwrite(bundle / "hosts", "".join(kept))


def places(bundle: Path) -> dict[str, Path]:
    """Where in the container each file goes."""
    return {RESOLV: bundle / "resolv.conf", HOSTNAME: bundle / "hostname", HOSTS: bundle / "hosts"}


def hosts(container: Container, *, gateway: str, basis: str, linked: Sequence[tuple[str, str]] = ()) -> str:
    """The content of ``/etc/hosts`` (hosts(5)): ``basis``, the user's entries, links, the container's own addresses."""
    lines = []
    for entry in container.host_config["ExtraHosts"] or ():
        name, _, address = entry.partition(":")
        address = (gateway or "127.0.0.1") if address == GATEWAY else address.strip("[]")
        lines.append(_line(address, name))
    lines += [_line(address, names) for address, names in linked]
    own = [address for endpoint in container.endpoints.values() if endpoint.spec for address in endpoint.spec.addresses]
    lines += [_line(address, _own_names(container)) for address in own]
    return (basis if basis.endswith("\n") else basis + "\n") + "".join(lines)


def resolv(container: Container, defaults: Defaults, *, named: bool) -> str:
    """The content of ``/etc/resolv.conf`` (resolv.conf(5)): the host's, with what the user or the engine overrides."""
    wanted = resolvconf.wanted(container.host_config, defaults)
    return resolvconf.content(wanted, named=named, in_host=container.host_config["NetworkMode"] == "host")


def _own_names(container: Container) -> str:
    """The whole name, and its first part: ``box.example.org box``."""
    name, domain = container.config["Hostname"], container.config["Domainname"]
    whole = f"{name}.{domain}" if domain else name
    first = whole.partition(".")[0]
    return whole if first == whole else f"{whole} {first}"


def _line(address: str, names: str) -> str:
    return f"{address.partition('/')[0]}\t{names}\n"


def _edit(path: Path) -> list[str] | None:
    """The file's lines; None if it is not as we can have left it."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
    except OSError:
        return None
    lines = _read(str(path)).splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines


def _overwrite(path: Path, text: str) -> None:
    """In place, and so that who reads meanwhile finds no empty file."""
    data = text.encode(errors="surrogateescape")
    with path.open("r+b", buffering=0) as file:
        file.write(data)
        file.truncate(len(data))


def _write_resolv(bundle: Path, text: str) -> None:
    path = bundle / "resolv.conf"
    if path.exists():
        _overwrite(path, text)
    else:
        path.write_text(text)
    (bundle / _HASH).write_text(_hash(text))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
