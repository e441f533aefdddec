"""Flows that the kernel must forget, because they go where nobody is any more, or went out as they should not have."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Collection, Sequence

from sampan.drivers.types import PortBinding
from sampan.errors import SampanError
from sampan.linux import conntrack
from sampan_network.firewall import Firewall


def forget(ports: Sequence[PortBinding]) -> None:
    """Have clients that keep sending datagrams find the new place, soon: looking for their flows takes the kernel long.

    Where that cannot be, they find it in minutes.
    """
    numbers = {port.host_port for port in ports if port.protocol == "udp" and port.host_port}
    if numbers:
        threading.Thread(target=_forget_udp, args=[numbers], name="forgetting", daemon=True).start()


def mend(firewall: Firewall) -> None:
    """After the table was away for a moment: flows that began meanwhile are begun again, translated as they must be."""
    wanted = firewall.wanted()
    maps = ("ports4", "ports6", "anyports4", "anyports6")
    ends = [one.key.split(" . ")[-2:] for one in wanted if one.set in maps]
    _forget_udp({int(port) for protocol, port in ends if protocol == "udp"})
    sources = [ipaddress.ip_network(one.key.split(" . ")[1]) for one in wanted if one.set in ("nat4", "nat6")]
    with contextlib.suppress(SampanError, OSError):
        conntrack.forget_unanswered(sources)


def _forget_udp(numbers: Collection[int]) -> None:
    if numbers:
        with contextlib.suppress(SampanError, OSError):
            conntrack.forget_udp(numbers)
