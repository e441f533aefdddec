"""Inside a container's network namespace: who listens, and are link and addresses there?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sampan.diagnosis.marks import fine, wrong
from sampan.drivers.types import EndpointSpec, Finding
from sampan.errors import SampanError
from sampan.linux import links, netns
from sampan.linux.listeners import Listener, listeners, owner
from sampan.linux.netlink import Netlink

_OWN_NAMES = "127.0.0.11"  # where the engine itself answers questions for names


def listening(pid: int, port: int, protocol: str, addresses: Sequence[str]) -> Iterator[Finding]:
    """Does a program listen on the port, where packets for one of ``addresses`` (none: any of the host's) come?"""
    about, what = "listener", f"{port}/{protocol}"
    try:
        found = listeners(protocol, pid)
    except OSError:
        yield wrong(about, "the container has just ended", "see its log")
        return
    found = [one for one in found if one.address != _OWN_NAMES]
    here = [one for one in found if one.port == port]
    if not here:
        yield wrong(about, f"nothing inside listens on {what}{_others(found, protocol)}", _no_listener(found, protocol))
        return
    if all(one.loopback for one in here):
        places = " and ".join(sorted({one.address for one in here}))
        said = f"{_program(here)} listens on {what} at {places} only, where nobody outside the container gets"
        yield wrong(about, said, f"have it listen on 0.0.0.0:{port}")
        return
    reached = [one for one in here if one.everywhere or not addresses or one.address in addresses]
    if not reached:
        places = " and ".join(sorted({one.address for one in here}))
        said = f"{_program(here)} listens on {what} at {places}, which is no address of the container any more"
        yield wrong(about, said, f"have it listen on 0.0.0.0:{port}")
        return
    places = " and ".join(sorted({one.address for one in reached}))
    yield fine(about, f"{_program(reached)} listens on {what} at {places}")


def link(pid: int, network: str, spec: EndpointSpec) -> Iterator[Finding]:
    """Is the endpoint's link inside up, and has it its addresses?"""
    about = f"{spec.interface} inside"
    try:
        found, addresses = netns.inside(f"/proc/{pid}/ns/net", lambda: _look(spec.interface))
    except (OSError, SampanError) as error:
        yield wrong(about, f"the container's network cannot be looked at: {error}", "see the daemon's log")
        return
    again = "restart the container: it gets a new one"
    if found is None:
        yield wrong(about, f"the container has lost its link to {network}", again)
    elif not found.up:
        yield wrong(about, f"the container's link to {network} is down", f"ip link set {spec.interface} up, inside")
    elif missing := [one for one in spec.addresses if one not in addresses]:
        what = f"the container's link to {network} has no address {' and '.join(missing)} any more"
        yield wrong(about, what, f"ip address add {missing[0]} dev {spec.interface}, inside, or restart the container")
    else:
        yield fine(about, f"the container's link to {network} is up and has {' and '.join(spec.addresses)}")


def _look(name: str) -> tuple[links.Link | None, list[str]]:
    with Netlink() as netlink:
        found = links.link(netlink, name)
        return found, links.addresses(netlink).get(found.index, []) if found else []


def _program(found: Sequence[Listener]) -> str:
    known = owner(found[0].inode)
    return f"{known[1]} (process {known[0]})" if known else "a program"


def _others(found: Sequence[Listener], protocol: str) -> str:
    ports = sorted({one.port for one in found if not one.loopback})
    return f" (what listens: {', '.join(f'{port}/{protocol}' for port in ports[:5])})" if ports else ""


def _no_listener(found: Sequence[Listener], protocol: str) -> str:
    if any(not one.loopback for one in found):
        return "publish the port that the program listens on, or have it listen on this one"
    return "start the program, or see the container's log for why it does not listen"
