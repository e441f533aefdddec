"""The one table of what may follow what in a container's life; everything else asks it.

created → running ⇄ paused          running, paused → exited, restarting
exited  → running                   restarting → running, exited
created, exited, restarting, dead → removing → dead (its removal failed; it can only be tried again)
"""

from __future__ import annotations

from sampan.errors import Internal
from sampan.types import State, Status

NEXT: dict[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.EXITED, Status.RESTARTING, Status.REMOVING}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.EXITED, Status.RESTARTING, Status.REMOVING}),
    Status.RESTARTING: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.EXITED: frozenset({Status.RUNNING, Status.REMOVING}),
    Status.REMOVING: frozenset({Status.DEAD}),
    Status.DEAD: frozenset({Status.REMOVING}),
}

ALIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""It has a process."""


def allowed(before: Status, after: Status) -> bool:
    """May a container that is ``before`` become ``after``?"""
    return after in NEXT[before]


def move(state: State, after: Status) -> None:
    """Change ``state.status``. Raises ``Internal`` if the table forbids it: whoever calls has asked before."""
    if not allowed(state.status, after):
        raise Internal(f"a container that is {state.status} cannot become {after}")
    state.status = after
