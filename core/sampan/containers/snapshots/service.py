"""What can be done with a container's snapshots.

A snapshot is one more writable root in the container's storage driver, on the same layers, with a copy of what the
container had changed by then; nobody ever writes to it. Going back makes a third root, a copy of the snapshot's, and
then one write to the database says that this is the container's root from now on. So a container always stands on its
image's layers, whatever became of it, and whoever dies at any line leaves the old state or the new one: roots that no
record names go when the next daemon starts.
"""

from __future__ import annotations

import builtins
import logging
import os
import secrets
from collections.abc import Iterator

from sampan.containers import names, timestamps
from sampan.containers.files.committing import frozen
from sampan.containers.files.ours import without_ours
from sampan.containers.files.view import Views
from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.containers.snapshots import forking
from sampan.drivers.types import Change, ChangeKind
from sampan.errors import Conflict, SampanError, Unavailable
from sampan.linux.grafts import differences
from sampan.types import Container, Snapshot, Status
from sampan.undo import Undo

log = logging.getLogger(__name__)

_SETTLE = 30.0  # seconds for an earlier run, or somebody who looks at the files, to be done


class SnapshotService:
    """Synchronous and thread-safe. References to snapshots are their names or ids."""

    def __init__(self, parts: Parts, views: Views) -> None:
        self._parts = parts
        self._views = views
        self._records = parts.snapshots

    def create(self, reference: str, name: str = "", *, comment: str = "", pause: bool = True) -> Snapshot:
        """Name the state that a container's files are in now; no ``name``: one is made up. ``pause``: it stands still
        meanwhile, so that the files fit together. ``Conflict``: the name is taken, or the container goes away."""
        entry = self._parts.registry.find(reference)
        record = entry.record
        wanted = names.check(name) if name else ""
        with self._records.alone(record.id), Undo() as undo:
            chosen = self._records.free_name(record.id, wanted)
            root = secrets.token_hex(32)
            storage = self._parts.storage(record)
            forking.make(self._parts, record, root, undo)
            with self._views.open(entry, bare=True) as view, frozen(self._parts, entry, pause):
                created = timestamps.now()
                forking.copy(storage, record.root, view.root, root)
            made = Snapshot(
                id=root,
                container=record.id,
                name=chosen,
                created=created,
                size=storage.usage(root),
                comment=comment,
            )
            with entry.lock:
                _check_stays(entry)
                self._records.add(made)
        self._parts.announce(record, "snapshot", snapshot=chosen)
        return made

    def list(self, reference: str) -> list[Snapshot]:
        """A container's, the oldest first."""
        return self._records.of(self._parts.registry.find(reference).record.id)

    def get(self, reference: str, name: str) -> Snapshot:
        return self._records.get(self._parts.registry.find(reference).record.id, name)

    def remove(self, reference: str, name: str) -> None:
        record = self._parts.registry.find(reference).record
        with self._records.alone(record.id):
            snapshot = self._records.get(record.id, name)
            self._records.remove(snapshot)
            self._discard(record, snapshot.id)
        self._parts.announce(record, "snapshot-remove", snapshot=snapshot.name)

    def changes(self, reference: str, name: str, other: str = "") -> builtins.list[Change]:
        """What the container changed since a snapshot, or what ``other``, another snapshot of it, has otherwise."""
        entry = self._parts.registry.find(reference)
        storage = self._parts.storage(entry.record)
        with self._records.alone(entry.record.id):
            old = self._records.get(entry.record.id, name).id
            if other:
                new = self._records.get(entry.record.id, other).id
                if new == old:
                    return []
                with forking.mounted(storage, old) as before, forking.mounted(storage, new) as after:
                    return _compared(before, after, forking.changed(storage, old) + forking.changed(storage, new))
            with forking.mounted(storage, old) as before, self._views.open(entry, bare=True) as view:
                paths = forking.changed(storage, old) + forking.changed(storage, entry.record.root)
                return _compared(before, view.root, paths)

    def restore(self, reference: str, name: str) -> None:
        """Make the container's files what they were. ``Conflict`` while it runs."""
        entry = self._parts.registry.find(reference)
        record = entry.record
        with self._records.alone(record.id), entry.lock:
            snapshot = self._records.get(record.id, name)
            _check_idle(entry)
            before, root = record.root, secrets.token_hex(32)
            with Undo() as undo:
                forking.fork(self._parts, record, snapshot, root, undo, lasting=not record.host_config["AutoRemove"])
                undo.push(setattr, record, "root", before)
                record.root = root
                self._parts.save(record)
            self._discard(record, before)
        self._parts.announce(record, "snapshot-restore", snapshot=snapshot.name)

    def _discard(self, record: Container, root: str) -> None:
        """No record names it any more: should it not go now, the next daemon removes it."""
        try:
            self._parts.storage(record).remove(root)
        except (SampanError, OSError) as error:
            log.error("a root that container %s had stays until the next start: %s", record.name, error)


def _compared(before: int, after: int, paths: list[bytes]) -> list[Change]:
    def told() -> Iterator[Change]:
        for path, was, is_ in differences(before, after, paths):
            kind = ChangeKind.MODIFIED if was and is_ else ChangeKind.ADDED if is_ else ChangeKind.DELETED
            yield Change("/" + os.fsdecode(path), kind)

    return without_ours(told())


def _check_stays(entry: Entry) -> None:
    if entry.gone or entry.record.state.status in (Status.REMOVING, Status.DEAD):
        raise Conflict(f"container {entry.record.name} is being removed, and its snapshots go with it")


def _check_idle(entry: Entry) -> None:
    _check_stays(entry)
    record = entry.record
    if record.state.status in (*ALIVE, Status.RESTARTING):
        raise Conflict(f"container {record.name} is {record.state.status}: stop it before it goes back to a snapshot")
    if not entry.settled.wait(_SETTLE):
        raise Unavailable(f"the last run of container {record.name} is still being cleaned up")
    if not entry.unseen.wait(_SETTLE):
        raise Unavailable(f"files of container {record.name} are still being copied: try again later")
