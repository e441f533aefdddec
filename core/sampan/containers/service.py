"""The containers service: everything that the engine does with containers."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sampan.containers import connecting, isolation, links, processes, updating
from sampan.containers.execs import Execs
from sampan.containers.explaining import Operations
from sampan.containers.files.archive import Archives
from sampan.containers.health.checking import Healths
from sampan.containers.isolation import Isolation
from sampan.containers.life import adoption, creation, keeping
from sampan.containers.life.ending import Endings
from sampan.containers.life.starting import Starter
from sampan.containers.life.starvation import Starvation
from sampan.containers.life.stopping import Stopper, Why
from sampan.containers.life.transitions import ALIVE
from sampan.containers.monitors import Exit
from sampan.containers.parts import Parts
from sampan.containers.registry import Condition, Entry
from sampan.containers.snapshots import beginning
from sampan.containers.snapshots.service import SnapshotService
from sampan.containers.streams import attach, logs
from sampan.containers.streams.logformats import LogEntry
from sampan.containers.streams.logs import Wanted
from sampan.drivers.types import Stats
from sampan.errors import Conflict, Invalid, NotFound, NotModified, Unsupported
from sampan.types import Container, Status

log = logging.getLogger(__name__)

_SETTLE = 20.0  # seconds that removing an image waits for roots of removed containers on it
_TOLD_WITHIN = 2.0  # seconds for a monitor to tell of an end that can be seen


class Containers:
    """Synchronous and thread-safe, but for :meth:`wait` and :meth:`follow`. A reference is a name, an id or the unique
    beginning of one; ``NotFound`` (``No such container: x``) otherwise."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        parts.monitors.on_marks = parts.explanations.reported
        self.execs = Execs(parts)
        self._stopper = Stopper(parts)
        self._health = Healths(parts, self.execs, self._stopper.end_unhealthy)
        self._starvation = Starvation(parts)
        self._starter = Starter(parts, self._begun)
        self._endings = Endings(parts, self._starter.start, self._over)
        self._exits = ThreadPoolExecutor(8, thread_name_prefix="exit")
        self.archives = Archives(parts)
        self.snapshots = SnapshotService(parts, self.archives.views)

    # ── the engine's ───────────────────────────────────────────────────────────────────────────────────────────

    def adopt(self) -> adoption.Found:
        """Load the records and find the containers that live. Called once, before the drivers restore."""
        self._parts.snapshots.open()
        return adoption.adopt(self._parts)

    def open(self, found: adoption.Found) -> None:
        """The drivers have restored: files of nobody go, and policies are followed."""
        adoption.sweep(self._parts)
        adoption.tell(self._parts, found)
        for record in found.running:
            entry = self._parts.registry.find(record.id)
            with entry.lock:
                if record.state.status in ALIVE:
                    self._begun(entry, anew=False)
        adoption.start_wanted(self._parts, self._endings, found)

    def _begun(self, entry: Entry, *, anew: bool = True) -> None:
        self._health.begin(entry, anew=anew)
        self._starvation.begin(entry)

    def _over(self, entry: Entry) -> None:
        self._health.end(entry)
        self._starvation.end(entry)

    def close(self) -> None:
        """Containers live on."""
        self._endings.close()
        self._health.close()
        self._parts.clock.close()
        self._parts.explanations.write()
        self._starter.close()
        self._exits.shutdown(wait=True)
        self._parts.cleaner.settle(_SETTLE)

    def exited(self, key: str, exit_: Exit) -> None:
        """A monitor has news; called in a thread that must not wait."""
        with contextlib.suppress(RuntimeError):  # shutting down: the next daemon reads it from the status file
            self._exits.submit(self._exited, key, exit_)

    def _exited(self, key: str, exit_: Exit) -> None:
        try:
            if self.execs.exited(key, exit_):
                return
            entry = self._parts.registry.known(key)
            if entry:
                self._endings.exited(entry, exit_)
        except Exception:
            log.exception("the end of %s could not be dealt with", key[:12])

    def made_from(self, image: str) -> builtins.list[Container]:
        """The containers of an image. Waits a moment for those that are on their way out."""
        self._endings.settle(image, _SETTLE)
        return [entry.record for entry in self._parts.registry if entry.record.image == image]

    def volumes(self) -> dict[str, set[str]]:
        """The ids of the containers that refer to each volume."""
        users: dict[str, set[str]] = {}
        for entry in self._parts.registry:
            for name in keeping.names(entry.record):
                users.setdefault(name, set()).add(entry.record.id)
        return users

    def roots(self, record: Container) -> builtins.list[str]:
        """The names of its roots in its storage driver: its own, and its snapshots'."""
        return [record.root, *(snapshot.id for snapshot in self._parts.snapshots.of(record.id))]

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, reference: str) -> Container:
        return self._parts.registry.find(reference).record

    def latest(self, reference: str) -> Container:
        """The container now. When its process is gone, but its end was not told yet, waits for that, a moment: whoever
        has seen its streams end is to see its end, and whoever sees its end finds the event. ``NotFound`` if that has
        removed it."""
        entry = self._parts.registry.find(reference)
        state = entry.record.state
        if not (state.status in ALIVE and state.pid and Path(f"/proc/{state.pid}").exists()):
            entry.ended.wait(_TOLD_WITHIN)
        if entry.gone:
            raise NotFound(f"No such container: {reference}")
        return entry.record

    def explain(self, reference: str) -> Operations:
        """What was done to make it, by operation: ``create``, and ``start`` for its last start."""
        return self._parts.explanations.tell(self.get(reference).id)

    def list(self) -> builtins.list[Container]:
        """All of them, the newest first."""
        records = [entry.record for entry in self._parts.registry]
        return sorted(records, key=lambda record: record.created, reverse=True)

    def files(self, reference: str) -> dict[str, str]:
        """The paths on the host of the files that the engine writes for a container: hosts, hostname, resolv.conf."""
        bundle = self._parts.bundle(self.get(reference).id)
        return {name: str(bundle / name) for name in ("hosts", "hostname", "resolv.conf")}

    def links(self, reference: str) -> builtins.list[str]:
        """Its links on the default network, as Docker tells them: ``/NAME:/WHOSE/ALIAS``."""
        return links.told(self._parts, self.get(reference))

    def top(self, reference: str, arguments: str = "-ef") -> dict[str, Any]:
        """Docker's ``Titles`` and ``Processes``. ``Conflict`` if it does not run."""
        record = self._running(reference).record
        pids = self._parts.runtime(record).processes(record.id, record.state.pid)
        listed = processes.listed(pids, arguments or "-ef")
        self._parts.announce(record, "top")
        return {**listed}

    def isolation(self, reference: str) -> Isolation:
        """What its first process really has. ``Conflict`` if it does not run."""
        record = self._running(reference).record
        pids = self._parts.runtime(record).processes(record.id, record.state.pid)
        return isolation.look(record.state.pid, record.state.monitor, pids)

    def stats(self, reference: str) -> Stats:
        """The counters now. ``Conflict`` if it does not run."""
        record = self._running(reference).record
        runtime = self._parts.runtime(record)
        if not runtime.features().stats:
            raise Unsupported(f"the runtime {record.runtime} has no counters")
        return runtime.stats(record.id)

    # ── the life of a container ────────────────────────────────────────────────────────────────────────────────

    def create(
        self, name: str | None, body: Mapping[str, Any], platform: str = "", *, shallow: bool = False
    ) -> tuple[Container, builtins.list[str]]:
        """``body`` is the Engine API's ContainerCreateRequest. Returns warnings beside the container. ``shallow``:
        what is mounted below a read-only bind is not read-only."""
        return creation.create(self._parts, name, body, platform, shallow=shallow)

    def create_like(self, reference: str, snapshot: str, name: str | None) -> tuple[Container, builtins.list[str]]:
        """A container as another one was asked for, with the files that that one had at a snapshot."""
        record = self.get(reference)
        body = beginning.like(record, self._parts.snapshots.get(record.id, snapshot))
        return self.create(name, body)

    def start(self, reference: str) -> None:
        """``NotModified`` if it runs; ``StartFailed`` if its command could not be started."""
        entry = self._parts.registry.find(reference)
        with entry.lock:
            self.execs.forget(entry.record.id)
            self._start(entry)

    def _start(self, entry: Entry) -> None:
        """Because a user wants it: the policy counts from the beginning."""
        self._starter.check(entry)
        entry.record.restart_count, entry.delay = 0, 0.0
        if entry.timer:
            entry.timer.cancel()
            entry.timer = None
        try:
            self._starter.start(entry)
        except Exception:
            if entry.record.host_config["AutoRemove"]:
                self._endings.remove(entry, volumes=True)
            raise

    def stop(self, reference: str, timeout: int | None = None, signal: str | None = None, by: str = "") -> None:
        """``timeout`` in seconds before SIGKILL, -1 for never, None for the container's own; ``by`` whom it is asked.
        ``NotModified`` if it does not run."""
        self._stopper.stop(self._parts.registry.find(reference), timeout, signal, Why("stop", by))

    def restart(self, reference: str, timeout: int | None = None, signal: str | None = None, by: str = "") -> None:
        entry = self._parts.registry.find(reference)
        entry.kept = True
        try:
            with contextlib.suppress(NotModified):
                self._stopper.stop(entry, timeout, signal, Why("restart", by))
            with entry.lock, contextlib.suppress(NotModified):
                self._start(entry)
        finally:
            entry.kept = False
        self._parts.announce(entry.record, "restart")

    def kill(self, reference: str, signal: str = "SIGKILL", by: str = "") -> None:
        self._stopper.kill(self._parts.registry.find(reference), signal, by)

    def pause(self, reference: str) -> None:
        entry = self._parts.registry.find(reference)
        with entry.lock:
            self._stopper.pause(entry)
            self._health.pause(entry)

    def unpause(self, reference: str) -> None:
        entry = self._parts.registry.find(reference)
        with entry.lock:
            self._stopper.unpause(entry)
            self._health.resume(entry)

    def rename(self, reference: str, name: str) -> None:
        entry = self._parts.registry.find(reference)
        if not name:
            raise Invalid("Neither old nor new names may be empty")
        with entry.lock:
            old = entry.record.name
            if old == name.removeprefix("/"):
                raise Invalid("Renaming a container with the same name as its current name")
            new = self._parts.registry.reserve(name, entry.record.id)
            entry.record.name = new
            try:
                self._parts.save(entry.record)
            except BaseException:
                entry.record.name = old
                self._parts.registry.release(new)
                raise
            self._parts.registry.release(old)
            self._parts.networks.renamed(entry.record)
            self._parts.announce(entry.record, "rename", oldName=f"/{old}")

    def link_names(self) -> dict[str, builtins.list[str]]:
        """What containers are called by those that link to them on the default network, ``/WHOSE/ALIAS``, by id."""
        return links.names(self._parts)

    def unlink(self, name: str) -> None:
        """Remove a link on the default network, by its name ``/WHOSE/ALIAS``."""
        links.remove(self._parts, name)

    def update(self, reference: str, body: Mapping[str, Any]) -> builtins.list[str]:
        """Other limits, another restart policy: ``body`` is the Engine API's. Returns warnings."""
        return updating.update(self._parts, self._parts.registry.find(reference), body)

    def connect(self, reference: str, network: str, settings: Mapping[str, Any]) -> None:
        """Put it on one more network; ``settings`` are the Engine API's ``EndpointSettings``."""
        connecting.connect(self._parts, self._parts.registry.find(reference), network, settings)

    def disconnect(self, reference: str, network: str, *, force: bool = False) -> None:
        connecting.disconnect(self._parts, self._parts.registry.find(reference), network, force=force)

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False, by: str = "") -> None:
        """``Conflict`` if it runs, unless ``force``. ``volumes``: those that nobody named go, too."""
        entry = self._parts.registry.find(reference)
        status = entry.record.state.status
        if status in ALIVE or status is Status.RESTARTING:
            if not force:
                how = "is paused and must be unpaused first"
                if status is not Status.PAUSED:
                    how = f"is {status}: stop the container before removing or force remove"
                raise Conflict(f'cannot remove container "{reference}": container {how}')
            self._stopper.end(entry, Why("removal by force", by))
        with entry.lock:
            if status is Status.REMOVING:
                raise Conflict(f"removal of container {reference} is already in progress")
            self._endings.remove(entry, volumes=volumes)
        self.execs.forget(entry.record.id)

    async def wait(self, reference: str, condition: Condition) -> tuple[int, str]:
        """The exit code, and what went wrong, when the condition holds. Registered before the first suspension.

        Takes no container's lock, for it runs on the event loop: it asks for the news first and looks then.
        """
        entry = self._parts.registry.find(reference)
        state = entry.record.state
        promised = entry.promise(condition)
        try:
            idle = condition == "not-running" and state.status not in (*ALIVE, Status.RESTARTING)
            if idle or entry.gone:
                return state.exit_code, state.error
            return await asyncio.wrap_future(promised)
        finally:
            entry.withdraw(promised)

    # ── streams ────────────────────────────────────────────────────────────────────────────────────────────────

    def attach(
        self,
        reference: str,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        stream: bool,
        logs: bool,
        framed: bool = True,
    ) -> socket.socket:
        """Our end of the container's streams, non-blocking: Docker's framing, or raw with a terminal or if it is not
        to be ``framed``.

        What is sent is its stdin, half-closing is the end of it. Before the start it is kept for the start.
        """
        entry = self._parts.registry.find(reference)
        if not logs and not stream:
            return attach.said("", tty=True)
        wanted = Wanted(stdout=stdout, stderr=stderr)
        if not logs:
            ours = attach.live(self._parts.monitors, entry, stdin=stdin, stdout=stdout, stderr=stderr)
        elif stream:
            ours = attach.after_log(self._parts.monitors, entry, *self._log(reference), wanted, stdin=stdin)
        else:
            ours = attach.with_log(self.logs(reference, wanted), None, tty=entry.record.config["Tty"])
        self._parts.announce(entry.record, "attach")
        return ours if framed or entry.record.config["Tty"] else attach.recast(ours, framed=False)

    def detached(self, reference: str) -> None:
        """Somebody who was attached has left by the detach keys."""
        self._parts.announce(self._parts.registry.find(reference).record, "detach")

    def resize(self, reference: str, rows: int, columns: int) -> None:
        record = self._running(reference).record
        self._parts.monitors.resize(record.id, rows, columns)
        self._parts.announce(record, "resize", height=str(rows), width=str(columns))

    def logs(self, reference: str, wanted: Wanted) -> Iterator[LogEntry]:
        """What the container said so far. ``Unsupported`` if its log driver keeps nothing."""
        path, driver = self._log(reference)
        return logs.read(path, wanted, driver)

    def follow(self, reference: str, wanted: Wanted) -> AsyncIterator[builtins.list[LogEntry]]:
        """What it said so far and says from now on, until it ends; several entries at a time."""
        return self._follow(reference, wanted, *self._log(reference))

    async def _follow(
        self, reference: str, wanted: Wanted, path: Path, driver: str
    ) -> AsyncIterator[builtins.list[LogEntry]]:
        ended = asyncio.ensure_future(self.wait(reference, "not-running"))
        try:
            async with contextlib.aclosing(logs.follow(path, wanted, ended, driver)) as entries:
                async for several in entries:
                    yield several
        finally:
            ended.cancel()

    def _log(self, reference: str) -> tuple[Path, str]:
        record = self.get(reference)
        if not record.log_path:
            raise Unsupported("configured logging driver does not support reading")
        return Path(record.log_path), record.host_config["LogConfig"]["Type"]

    def _running(self, reference: str) -> Entry:
        entry = self._parts.registry.find(reference)
        with entry.lock:  # one that is being started is waited for
            if entry.record.state.status is Status.RESTARTING:
                raise Conflict(f"Container {entry.record.id} is restarting, wait until the container is running")
            if entry.record.state.status not in ALIVE:
                raise Conflict(f"container {entry.record.id} is not running")
        return entry
