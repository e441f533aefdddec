"""A network's options that its driver does not know: kept and told, and without effect, as with Docker.

Somebody who has misspelt one would not see that, so they are told at the network's making.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_DOCKERS = "com.docker.network."


def divided(options: Mapping[str, str], known: Collection[str] | None) -> tuple[dict[str, str], dict[str, str]]:
    """The driver's, and the others. ``known`` are its options, None if it looks after unknown ones itself."""
    mine = {key: value for key, value in options.items() if known is None or key in known}
    return mine, {key: value for key, value in options.items() if key not in mine}


def warning(driver: str, others: Collection[str], known: Collection[str] | None) -> str:
    """About those that look as if they were meant for the driver; ``""`` if there are none."""
    if not others or not known:
        return ""
    from difflib import get_close_matches

    said = []
    for key in sorted(others):
        close = get_close_matches(key, known, 1, 0.8)
        if close or key.startswith(_DOCKERS):
            meant = f", did you mean {close[0]}?" if close else ""
            said.append(f"option {key} has no effect: network driver {driver!r} does not know it{meant}")
    return "; ".join(said)
