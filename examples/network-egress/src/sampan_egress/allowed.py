"""What may be reached: a list of names, addresses and subnets, and the addresses that its names have."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable

from sampan.errors import Invalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str], Iterable[str]]
Seen = dict[str, dict[str, float]]  # by name, by address: when it was last found to have it, in seconds since 1970

PATIENCE = 5.0  # seconds for all names of a list together

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def check(entry: str) -> None:
    """``Invalid`` unless it is a name, an address or a subnet."""
    if subnet(entry) is None and (entry.replace(".", "").isdecimal() or not _NAME.fullmatch(entry)):
        raise Invalid(f"{entry!r} cannot be allowed: a name, an address or a subnet (address/prefix) can")


def subnet(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def look_up(name: str) -> set[str]:
    """The addresses that the host's resolver knows; none if it does not answer."""
    try:
        return {str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


class Allowed:
    """One list. ``keep`` is how many seconds an address stays after its name was last found to have it: a name that
    changes its answer at each question would otherwise never be reached. ``seen`` is what an earlier list of these
    names had seen; of names that are on the list no more, nothing is taken over."""

    def __init__(
        self, entries: Iterable[str], keep: float, resolve: Resolve = look_up, seen: Seen | None = None
    ) -> None:
        self._fixed = {found for entry in entries if (found := subnet(entry))}
        self.names = sorted({entry for entry in entries if subnet(entry) is None})
        self._keep = keep
        self._resolve = resolve
        self._seen = {name: dict((seen or {}).get(name, {})) for name in self.names}

    def refresh(self) -> None:
        """Look all names up, at once: a resolver that is silent (at boot, say) is waited for a few seconds, not for
        each name anew. A name that is late is asked for again the next time."""
        answers: dict[str, Iterable[str]] = {}
        threads = [
            threading.Thread(target=lambda name=name: answers.update({name: self._resolve(name)}), daemon=True)
            for name in self.names
        ]
        for thread in threads:
            thread.start()
        began, now = time.monotonic(), time.time()
        for thread in threads:
            thread.join(max(0.0, began + PATIENCE - time.monotonic()))
        for name, found in list(answers.items()):
            self._seen[name] |= {each.partition("%")[0]: now for each in found}
        for name, addresses in self._seen.items():
            self._seen[name] = {each: when for each, when in addresses.items() if now - when <= self._keep}

    @property
    def seen(self) -> Seen:
        return self._seen

    def subnets(self, version: int) -> list[str]:
        """Without overlaps, in order."""
        seen = {ipaddress.ip_network(each) for addresses in self._seen.values() for each in addresses}
        found = [each for each in self._fixed | seen if each.version == version]
        return [str(each) for each in ipaddress.collapse_addresses(found)]  # type: ignore[type-var]
