"""Other people's firewalls, looked at and never touched: who drops what the host forwards?

A packet that is forwarded goes through the forward chains of all tables; it has to be let through by each of them. A
policy of DROP (iptables' ``-P FORWARD DROP``, which ufw, firewalld and dockerd set) holds for our bridges, too, unless
a rule of that table speaks of them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sampan.linux.nftables import open_nftables

_OURS = "sampan-"
_LEGACY = {"iptables-legacy": Path("/proc/net/ip_tables_names"), "ip6tables-legacy": Path("/proc/net/ip6_tables_names")}
_FAMILIES = ("ip", "ip6", "inet")
_TIMEOUT = 5.0  # seconds for the command


class Dropper(NamedTuple):
    """A chain whose policy drops what is forwarded. ``command`` is how rules are put into it: ``nft`` or iptables'."""

    place: str
    command: str
    chain: str

    def remedy(self, bridge: str) -> str:
        """The commands that let one bridge's packets through there."""
        if self.command == "nft":
            return " && ".join(f"nft insert rule {self.chain} {way} {bridge} accept" for way in ("iifname", "oifname"))
        return " && ".join(f"{self.command} -I {self.chain} {way} {bridge} -j ACCEPT" for way in ("-i", "-o"))


def forward_droppers(bridge: str) -> list[Dropper]:
    """In the calling thread's network namespace. ``SampanError`` if the rules cannot be read."""
    return [*_nftables(bridge), *_legacy(bridge)]


def _nftables(bridge: str) -> Iterator[Dropper]:
    nft = open_nftables()
    try:
        chains = [one["chain"] for one in nft.list("chains") if "chain" in one]
        for chain in chains:
            if not _drops(chain):
                continue
            table = f"{chain['family']} {chain['table']}"
            if not _speaks_of(bridge, nft.list(f"table {table}")):
                yield _dropper(chain)
    finally:
        nft.close()


def _drops(chain: dict[str, Any]) -> bool:
    ours = str(chain["table"]).startswith(_OURS)
    hooked = chain.get("hook") == "forward" and chain.get("policy") == "drop"
    return hooked and not ours and chain["family"] in _FAMILIES


def _speaks_of(bridge: str, listed: Iterable[dict[str, Any]]) -> bool:
    """Has the table a rule or a set in which the bridge is named? Whoever wrote it has thought of it."""
    return any(f'"{bridge}"' in json.dumps(one) for one in listed)


def _dropper(chain: dict[str, Any]) -> Dropper:
    family, table, name = str(chain["family"]), str(chain["table"]), str(chain["name"])
    if (table, name) == ("filter", "FORWARD") and family != "inet":
        command = "iptables" if family == "ip" else "ip6tables"
        return Dropper(f"{command}' chain FORWARD", command, "FORWARD")
    return Dropper(f"chain {name} of the table {family} {table}", "nft", f"{family} {table} {name}")


def _legacy(bridge: str) -> Iterator[Dropper]:
    """The kernel's older tables, which nft(8) does not see: asked only where they are in use."""
    for command, names in _LEGACY.items():
        if "filter" not in _lines(names) or shutil.which(command) is None:
            continue
        try:
            told = subprocess.run([command, "-S"], capture_output=True, text=True, timeout=_TIMEOUT, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        if "-P FORWARD DROP" in told.splitlines() and f" {bridge} " not in told:
            yield Dropper(f"{command}' chain FORWARD", command, "FORWARD")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
