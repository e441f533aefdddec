"""The containers in memory: records by id and by name, each with its lock and with those who wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal

from sampan.containers import names
from sampan.errors import Conflict, Invalid, NotFound
from sampan.types import Container, ExitCause

if TYPE_CHECKING:
    from socket import socket

    from sampan.containers.clock import Appointment
    from sampan.containers.monitors import Stream

Condition = Literal["not-running", "next-exit", "removed"]
Result = tuple[int, str]


class Entry:
    """One container. ``lock`` guards the record's changes; hold it for whole operations, never while waiting.

    ``ended`` is set while there is no process; ``settled`` while nothing is left of an earlier run; ``unseen`` while
    nobody looks at the files of what does not run (:mod:`sampan.containers.files.view`).
    """

    def __init__(self, record: Container) -> None:
        self.record = record
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self.ended.set()
        self.settled = threading.Event()
        self.settled.set()
        self.unseen = threading.Event()
        self.unseen.set()
        self.gone = False
        self.cause: ExitCause | None = None  # why it is being ended, and who asked
        self.detail = ""
        self.sent: dict[int, str] = {}  # other signals that were asked for, and by whom
        self.unsaved = False  # its end is not in the database
        self.kept = False  # not to be removed at its exit, because it is being restarted
        self.streams: list[tuple[socket, Stream]] = []  # attached before the start
        self.timer: Appointment | None = None
        self.delay = 0.0
        self.left: list[str] = []  # roots of its snapshots, when it is gone
        self._waiting: list[tuple[Condition, Future[Result]]] = []
        self._news = threading.Lock()  # never held for long: the event loop takes it

    def promise(self, condition: Condition) -> Future[Result]:
        """A future that :meth:`tell` fulfils."""
        future: Future[Result] = Future()
        with self._news:
            self._waiting.append((condition, future))
        return future

    def withdraw(self, future: Future[Result]) -> None:
        with self._news:
            self._waiting = [waiter for waiter in self._waiting if waiter[1] is not future]

    def tell(self, *conditions: Condition) -> None:
        """Whoever waits for one of these gets the exit code."""
        result = (self.record.state.exit_code, self.record.state.error)
        with self._news:
            told = [future for condition, future in self._waiting if condition in conditions]
            self._waiting = [waiter for waiter in self._waiting if waiter[0] not in conditions]
        for future in told:
            if future.set_running_or_notify_cancel():
                future.set_result(result)


class Registry:
    """Thread-safe. Names are without Docker's leading slash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, str] = {}

    def __iter__(self) -> Iterator[Entry]:
        with self._lock:
            return iter(list(self._entries.values()))

    def reserve(self, name: str | None, ident: str) -> str:
        """Take a name, or invent one. Raises ``Invalid`` or ``Conflict``; give it back with :meth:`release`."""
        wanted = names.check(name) if name else None
        with self._lock:
            wanted = wanted or names.invent(self._names)
            if wanted in self._names:
                raise Conflict(
                    f'Conflict. The container name "/{wanted}" is already in use by container '
                    f'"{self._names[wanted]}". You have to remove (or rename) that container to be able to reuse '
                    "that name."
                )
            self._names[wanted] = ident
        return wanted

    def release(self, name: str) -> None:
        with self._lock:
            self._names.pop(name, None)

    def add(self, record: Container) -> Entry:
        """The record's name must be reserved, or nobody's."""
        entry = Entry(record)
        with self._lock:
            self._entries[record.id] = entry
            self._names[record.name] = record.id
        return entry

    def drop(self, entry: Entry) -> None:
        with self._lock:
            self._entries.pop(entry.record.id, None)
            if self._names.get(entry.record.name) == entry.record.id:
                del self._names[entry.record.name]

    def known(self, ident: str) -> Entry | None:
        """By full id only."""
        return self._entries.get(ident)

    def _linked(self, whose: str, alias: str) -> Entry | None:
        owner = self._entries.get(self._names.get(whose, ""))
        links = (owner.record.host_config["Links"] or ()) if owner else ()
        targets = {name: ident for ident, _, name in (link.partition(":") for link in links)}
        return self._entries.get(targets.get(alias, ""))

    def find(self, reference: str) -> Entry:
        """By id, name, another's link (``WHOSE/ALIAS``) or a prefix of the id that only one has.

        Raises ``NotFound``, or ``Invalid`` if several have it.
        """
        with self._lock:
            name = reference.removeprefix("/")
            entry = self._entries.get(reference) or self._entries.get(self._names.get(name, ""))
            if entry is None and "/" in name:
                entry = self._linked(*name.rsplit("/", 1))
            if entry:
                return entry
            found = [ident for ident in self._entries if ident.startswith(reference)] if reference else []
            if len(found) == 1:
                return self._entries[found[0]]
        if found:
            raise Invalid(f"multiple IDs found with provided prefix: {reference}")
        raise NotFound(f"No such container: {reference}")
