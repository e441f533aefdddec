"""Can this machine do bridges? Tried for real, in a network namespace that nobody sees and that is gone at once."""

from __future__ import annotations

import os

from sampan.drivers.types import Check
from sampan.errors import SampanError, Unavailable
from sampan.linux import links, netns
from sampan.linux.netlink import Netlink
from sampan_network.firewall import Firewall


def check() -> Check:
    try:
        netns.throwaway(_try)
    except PermissionError:
        return Check(False, "bridges and the firewall need root (CAP_NET_ADMIN and CAP_SYS_ADMIN)")
    except OSError as error:
        return Check(False, f"this kernel makes no network namespaces: {error.strerror}")
    except SampanError as error:
        return Check(False, error.message)
    return Check(True)


def _try() -> None:
    with Netlink() as netlink:
        try:
            netlink.run(links.bridge("b", mac="02:00:00:00:00:01", group=1, mtu=1500))
            bridge = links.link(netlink, "b")
            here = netns.current()
            try:
                netlink.run(links.veth("v", "w", here, master=bridge.index if bridge else 0, group=1, mtu=1500))
            finally:
                os.close(here)
        except SampanError as error:
            raise Unavailable(
                f"this kernel makes no bridges or veth pairs (modules bridge and veth): {error}"
            ) from None
    Firewall("probe", "bridge").replace(())
