"""On the host, in front of a published port: the address that it is published on, and who else listens there."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Sequence

from sampan.diagnosis.marks import fine, note, wrong
from sampan.drivers.types import Finding, PortBinding
from sampan.linux import links
from sampan.linux.listeners import Listener, listeners, owner
from sampan.linux.netlink import Netlink


def place(binding: PortBinding) -> str:
    if not binding.host_port:
        return f"port {binding.container_port} of its own address"
    host = f"[{binding.host_ip}]" if ":" in binding.host_ip else binding.host_ip
    return f"{host}:{binding.host_port}"


def told(binding: PortBinding) -> str:
    if not _everywhere(binding) or not binding.host_port:
        return place(binding)
    return f"port {binding.host_port} of every {'IPv6' if ':' in binding.host_ip else 'IPv4'} address of this host"


def all_told(bindings: Sequence[PortBinding]) -> list[str]:
    """A port that is there in both versions of IP is told once."""
    everywhere = {(one.host_port, ":" in one.host_ip) for one in bindings if _everywhere(one) and one.host_port}
    found = []
    for one in bindings:
        both = _everywhere(one) and {(one.host_port, False), (one.host_port, True)} <= everywhere
        found.append(f"port {one.host_port} of every address of this host" if both else told(one))
    return list(dict.fromkeys(found))


def is_loopback(binding: PortBinding) -> bool:
    return ipaddress.ip_address(binding.host_ip).is_loopback


def binding(binding: PortBinding) -> Finding:
    """Has the host the address still?"""
    about = "published"
    if not binding.host_port:
        said = (
            f"its network is routed: {binding.container_port}/{binding.protocol} is open at the container's own address"
        )
        return fine(about, f"{said}, and others have to know the way there")
    if not _everywhere(binding) and binding.host_ip not in _own_addresses() and not is_loopback(binding):
        said = f"it is published on {place(binding)}, and this host has no address {binding.host_ip} any more"
        return wrong(about, said, f"give the host {binding.host_ip} again, or publish the port on another address")
    return fine(about, f"{place(binding)} leads to {binding.container_port}/{binding.protocol}")


def shadows(binding: PortBinding) -> Iterator[Finding]:
    """Other programs of the host on the same port. The firewall turns packets round before they get to a program, so
    those of the port's own version of IP only hear nothing; but who listens on the other one is found in its place."""
    six = ":" in binding.host_ip
    for one in listeners(binding.protocol):
        if one.port != binding.host_port or not _overlap(binding, one):
            continue
        if owner(one.inode, [os.getpid()]):  # a container's monitor may have it, too (sampan.networks.ferries)
            continue
        known = owner(one.inode)
        program = f"{known[1]} (process {known[0]})" if known else "a program"
        listens = f"{program} of this host listens on {_told(one)}, too"
        if (":" in one.address) != six:
            said = f"{listens}: who comes by IPv{4 if six else 6} (as localhost may) gets that one"
            yield wrong("port on the host", said, "end it, or publish the container on another port")
        else:
            yield note("port on the host", f"{listens}, and hears nothing: the container comes first", "end it")


def _overlap(binding: PortBinding, listener: Listener) -> bool:
    if (":" in binding.host_ip) == (":" in listener.address):
        return _everywhere(binding) or listener.everywhere or binding.host_ip == listener.address
    return (_everywhere(binding) or is_loopback(binding)) and (listener.everywhere or listener.loopback)


def _told(listener: Listener) -> str:
    return f"[{listener.address}]:{listener.port}" if ":" in listener.address else f"{listener.address}:{listener.port}"


def _everywhere(binding: PortBinding) -> bool:
    return binding.host_ip in ("0.0.0.0", "::")


def _own_addresses() -> set[str]:
    with Netlink() as netlink:
        return {text.partition("/")[0] for found in links.addresses(netlink).values() for text in found}
