"""A new daemon finds what an old one left: containers that live on, that ended meanwhile, or that were lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from sampan.containers import links, sharing, timestamps, updating
from sampan.containers.life import restart
from sampan.containers.life.creation import forget
from sampan.containers.life.ending import Endings, ended, tell_death
from sampan.containers.life.transitions import ALIVE, move
from sampan.containers.monitors import Exit, Started
from sampan.containers.parts import TABLE, Parts
from sampan.containers.registry import Entry
from sampan.errors import SampanError
from sampan.types import Container, Status

log = logging.getLogger(__name__)

UNKNOWN = 255  # the exit code of a container of which nothing is known any more


class Found:
    """What :func:`adopt` found: those that live, those that their policy wants started, and what nobody was told: who
    has ended, who of these for want of memory, and who has gone."""

    def __init__(self) -> None:
        self.running: list[Container] = []
        self.wanted: list[Entry] = []
        self.ended: list[Container] = []
        self.starved: list[Container] = []
        self.gone: list[Container] = []


def adopt(parts: Parts) -> Found:
    """Load the records and make them true. Called once, before any driver acts on a container."""
    found = Found()
    for record in parts.state.load(TABLE, Container).values():
        entry = parts.registry.add(record)
        with entry.lock:
            _adopt(parts, entry, found)
    return found


def _adopt(parts: Parts, entry: Entry, found: Found) -> None:
    state = entry.record.state
    waits = state.status is Status.RESTARTING and not state.stopped_by_user
    knew = state.oom_killed
    was_alive = state.status in ALIVE or state.status is Status.RESTARTING
    if state.status in ALIVE and _lives(parts, entry):
        entry.ended.clear()
        found.running.append(entry.record)
        return
    if state.status in ALIVE:
        found.ended.append(entry.record)
        if state.oom_killed and not knew:
            found.starved.append(entry.record)
    if state.status in (Status.REMOVING, Status.DEAD) or entry.record.host_config["AutoRemove"]:
        forget(parts, entry, volumes=entry.record.host_config["AutoRemove"])
        found.gone.append(entry.record)
        return
    if was_alive:
        move(state, Status.EXITED)
        _free(entry.record)
        parts.save(entry.record)
    if waits or restart.wanted_at_boot(entry.record, was_alive=was_alive):
        found.wanted.append(entry)


def _lives(parts: Parts, entry: Entry) -> bool:
    """Asks the monitor, or reads what it left; if it does not live, its end is in the state."""
    state = entry.record.state
    news = parts.monitors.adopt(entry.record.id, parts.bundle(entry.record.id))
    if isinstance(news, Started):
        state.pid, state.monitor, state.started_at = news.pid, news.monitor, timestamps.text(news.at)
        updating.apply(parts, entry.record)
        _freeze_or_thaw(parts, entry.record)
        return True
    ended(entry, news or Exit(UNKNOWN, False, time.time_ns(), lost=True))
    return False


def _freeze_or_thaw(parts: Parts, record: Container) -> None:
    """As the record says: the last daemon may have died between the one and the other."""
    runtime = parts.runtime(record)
    if not runtime.features().pause:
        return
    try:
        if record.state.status is Status.PAUSED:
            runtime.pause(record.id)
        else:
            runtime.resume(record.id)
    except (SampanError, OSError) as error:
        log.warning("container %s could not be made %s: %s", record.name, record.state.status, error)


def _free(record: Container) -> None:
    record.spec = {}
    for endpoint in record.endpoints.values():
        endpoint.spec, endpoint.ports = None, []


def sweep(parts: Parts) -> None:
    """Remove files of containers that do not exist, or do not run."""
    known = {entry.record.id: entry.record.state.status in ALIVE for entry in parts.registry}
    _remove_but(parts.directory("x").parent, known)
    _remove_but(parts.bundle("x").parent, (ident for ident, alive in known.items() if alive))


def _remove_but(directory: Path, kept: Iterable[str]) -> None:
    names = set(kept)
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in names:
            sharing.remove_bundle(path)


def tell(parts: Parts, found: Found) -> None:
    """The events of what happened while there was no daemon. When it happened is in the records."""
    for record in found.starved:
        parts.announce(record, "oom")
    for record in found.ended:
        tell_death(parts, record)
    for record in found.gone:
        parts.announce(record, "destroy")


def start_wanted(parts: Parts, endings: Endings, found: Found) -> None:
    """Start what its policy wants running, in the background; whose namespace is joined before who joins it."""
    wanted = {entry.record.id for entry in found.wanted}
    joining: dict[str, list[Entry]] = {}
    free: list[Entry] = []
    for entry in found.wanted:
        owner = next(
            (ident for ident in (*sharing.owners(entry.record), *links.targets(entry.record)) if ident in wanted), ""
        )
        (joining.setdefault(owner, []) if owner else free).append(entry)

    def start(entry: Entry) -> None:
        with entry.lock:
            if not entry.gone and entry.record.state.status is Status.EXITED:
                endings.start_again(entry)
        for other in joining.get(entry.record.id, ()):
            start(other)

    for entry in free:
        parts.cleaner.later(lambda entry=entry: start(entry))  # type: ignore[misc]
