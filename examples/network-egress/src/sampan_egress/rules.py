"""The firewall of one network: a table of its own, made and replaced in one transaction (nft(8))."""

from __future__ import annotations

from sampan.drivers.types import NetworkSpec
from sampan_egress.allowed import Allowed


def table(instance: str, network: str) -> str:
    """The table's name: the instance's, so that ``restore`` finds its own, and the network's."""
    return f"sampan-{instance}-egress-{network[:12]}"


def sets(name: str, allowed: Allowed) -> str:
    """What may be reached from now on."""
    lines = []
    for version in (4, 6):
        lines.append(f"flush set inet {name} allowed{version}")
        if subnets := allowed.subnets(version):
            lines.append(f"add element inet {name} allowed{version} {{ {', '.join(subnets)} }}")
    return "\n".join(lines) + "\n"


def whole(name: str, network: NetworkSpec, bridge: str, allowed: Allowed) -> str:
    return f"add table inet {name}\ndelete table inet {name}\n{_table(name, network, bridge)}{sets(name, allowed)}"


def _table(name: str, network: NetworkSpec, bridge: str) -> str:
    own = [("ip6" if ":" in each.subnet else "ip", each.subnet) for each in network.subnets]
    nobody_else = "".join(f'iifname "{bridge}" {family} saddr != {subnet} drop\n' for family, subnet in own)
    masquerade = "".join(f'oifname != "{bridge}" {family} saddr {subnet} masquerade\n' for family, subnet in own)
    reached = f'iifname "{bridge}" ip daddr @allowed4 accept\niifname "{bridge}" ip6 daddr @allowed6 accept\n'
    sealed = network.internal
    return f"""table inet {name} {{
  set allowed4 {{ type ipv4_addr; flags interval; }}
  set allowed6 {{ type ipv6_addr; flags interval; }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{bridge}" oifname "{bridge}" accept
    {nobody_else}
    iifname "{bridge}" ct state established,related accept
    {"" if sealed else reached}
    iifname "{bridge}" {"drop" if sealed else "reject with icmpx admin-prohibited"}
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{bridge}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname "{bridge}" ct state established,related accept
    {"" if sealed else reached}
    iifname "{bridge}" {"drop" if sealed else "reject with icmpx admin-prohibited"}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {masquerade}
  }}
}}
"""
