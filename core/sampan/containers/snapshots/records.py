"""The snapshots that are known, by container and name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sampan.errors import Conflict, NotFound, Unavailable
from sampan.state import State
from sampan.types import Snapshot

TABLE = "snapshots"
PATIENCE = 60.0  # seconds that one operation on a container's snapshots waits for another


class Snapshots:
    """Thread-safe. Its own lock is never held while the database is asked."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._guard = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._known: dict[str, dict[str, Snapshot]] = {}  # by container, by name

    def open(self) -> None:
        """Called once, before the containers' records are read."""
        for snapshot in self._state.load(TABLE, Snapshot).values():
            self._known.setdefault(snapshot.container, {})[snapshot.name] = snapshot

    def of(self, container: str) -> list[Snapshot]:
        """A container's, the oldest first."""
        with self._guard:
            found = list(self._known.get(container, {}).values())
        return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name))

    def get(self, container: str, name: str) -> Snapshot:
        """By its name, or by the beginning of its id that no other of the container has. ``NotFound``."""
        with self._guard:
            known = self._known.get(container, {})
            found = known.get(name)
            like = [each for each in known.values() if each.id.startswith(name)] if len(name) > 3 else []
        if found is None and len(like) == 1:
            return like[0]
        if found is None:
            raise NotFound(f"No such snapshot of container {container[:12]}: {name}")
        return found

    def free_name(self, container: str, wanted: str) -> str:
        """``wanted`` if no other has it (else ``Conflict``), or one that is made up."""
        with self._guard:
            known = self._known.get(container, {})
            if wanted in known:
                raise Conflict(
                    f'container {container[:12]} has a snapshot "{wanted}" already: remove it or take another name'
                )
            return wanted or next(name for n in range(1, len(known) + 2) if (name := f"snapshot-{n}") not in known)

    def add(self, snapshot: Snapshot) -> None:
        """Durable when this returns."""
        self._state.put(TABLE, snapshot.id, snapshot)
        with self._guard:
            self._known.setdefault(snapshot.container, {})[snapshot.name] = snapshot

    def remove(self, snapshot: Snapshot) -> None:
        self._state.delete(TABLE, snapshot.id)
        with self._guard:
            self._known.get(snapshot.container, {}).pop(snapshot.name, None)

    def delete(self, container: str) -> None:
        """From the database, all of a container that goes. Call it in the transaction in which that goes."""
        for snapshot in self.of(container):
            self._state.delete(TABLE, snapshot.id)

    def drop(self, container: str) -> list[str]:
        """From memory, all of a container that is gone; returns the names of their roots."""
        with self._guard:
            self._busy.pop(container, None)
            return [snapshot.id for snapshot in self._known.pop(container, {}).values()]

    @contextmanager
    def alone(self, container: str) -> Iterator[None]:
        """Nobody else works with this container's snapshots in the block. ``Unavailable`` after a minute."""
        with self._guard:
            lock = self._busy.setdefault(container, threading.Lock())
        if not lock.acquire(timeout=PATIENCE):
            raise Unavailable(f"another snapshot of container {container[:12]} is being made or read: try again later")
        try:
            yield
        finally:
            lock.release()
