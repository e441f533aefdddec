"""Detach keys: what a person types to leave a container's terminal without ending what runs on it.

The docker CLI looks for them itself and hangs up. For all other clients the daemon does, as dockerd has it: what may
still become the whole sequence is held back, and the sequence itself never reaches the container.
"""

from __future__ import annotations

import re

from sampan.errors import Invalid

DEFAULT = "ctrl-p,ctrl-q"
_KEY = r"(ctrl-[a-zA-Z@\[\\\]^_]|[\x01-+\--\x7f])"
_KEYS = re.compile(f"{_KEY}(,{_KEY})*")


def parse(text: str) -> bytes:
    """``ctrl-a,d`` as the bytes that a terminal sends; nothing is the default.

    Characters, or ``ctrl-`` and one of them, separated by commas. Raises ``Invalid``.
    """
    text = text or DEFAULT
    if not _KEYS.fullmatch(text):
        raise Invalid(f"invalid detach keys ({text}) provided: they are like ctrl-p,ctrl-q or ctrl-a,d")
    return bytes(_code(key) for key in text.split(","))


def _code(key: str) -> int:
    return ord(key[-1].upper()) & 0x1F if key.startswith("ctrl-") else ord(key)


class DetachKeys:
    """Finds a sequence in what is typed. A longer piece that only contains it was pasted, and is no wish to leave."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on now, and whether the sequence is complete."""
        typed = self._held + data
        passed = b""
        if not self._keys.startswith(typed):
            passed, typed = (self._held, data) if self._keys.startswith(data) else (typed, b"")
        complete = typed == self._keys
        self._held = b"" if complete else typed
        return passed, complete
