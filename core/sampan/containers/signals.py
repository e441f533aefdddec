"""Signals by name or number, as Docker takes them: ``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3``."""

from __future__ import annotations

import re
import signal

from sampan.errors import Invalid

LAST = 64
_ALIASES = {"CLD": signal.SIGCHLD, "IOT": signal.SIGABRT, "POLL": signal.SIGIO}
NAMES: dict[str, int] = {
    **{s.name.removeprefix("SIG"): int(s) for s in signal.Signals},
    **{name: int(number) for name, number in _ALIASES.items()},
}


_NUMBERS = {int(each): each.name for each in signal.Signals}


def name(number: int) -> str:
    """``SIGTERM``; those without a name are told by their number."""
    return _NUMBERS.get(number, f"signal {number}")


def parse(text: str) -> int:
    """The signal's number, 1 to 64. Raises ``Invalid``."""
    name = text.strip().upper().removeprefix("SIG")
    number = NAMES.get(name)
    if number is None and re.fullmatch(r"[0-9]{1,3}", text.strip(), re.ASCII):
        number = int(text)
    offset = re.fullmatch(r"RT(MIN\+|MAX-)([0-9]{1,2})", name, re.ASCII)
    if offset:
        at = int(offset[2])
        number = signal.SIGRTMIN + at if offset[1] == "MIN+" else signal.SIGRTMAX - at
        number = number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None
    if number is None or not 1 <= number <= LAST:
        raise Invalid(f"invalid signal: {text}")
    return number
