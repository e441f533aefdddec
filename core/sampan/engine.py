"""The engine: stores, drivers and services, put together. The only place that knows everybody."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from sampan import subids
from sampan.config import Config
from sampan.containers.bundle.usual import usual
from sampan.containers.cleaner import Cleaner
from sampan.containers.clock import Clock
from sampan.containers.execs import Execs
from sampan.containers.explaining import Explanations
from sampan.containers.monitors import Exit, Monitors
from sampan.containers.parts import Parts
from sampan.containers.registry import Registry
from sampan.containers.service import Containers
from sampan.containers.snapshots.records import Snapshots
from sampan.diagnosis import Diagnosis
from sampan.errors import Conflict, SampanError
from sampan.events import EventBus
from sampan.images.service import Images
from sampan.networks import Networks
from sampan.plugins import Drivers
from sampan.state import State
from sampan.undo import teardown
from sampan.volumes import Volumes

log = logging.getLogger(__name__)


class Engine:
    """One engine on one data root. Nothing is touched before :meth:`open`; after it, the services are there:
    ``images``, ``networks``, ``volumes``, ``containers``, ``execs``, ``diagnosis``."""

    instance: str
    state: State
    drivers: Drivers
    images: Images
    networks: Networks
    volumes: Volumes
    monitors: Monitors
    containers: Containers
    execs: Execs
    diagnosis: Diagnosis

    def __init__(self, config: Config) -> None:
        self.ids = subids.find(config)
        self.config = subids.rooted(config, self.ids)
        self.events = EventBus()
        self._locks: list[int] = []

    def open(self) -> None:
        """Bring everything up, and everything that an earlier daemon left into a true state.

        ``Conflict`` if another daemon serves one of these roots; ``Unavailable`` if a default driver cannot work here.
        """
        with ExitStack() as undo:
            undo.callback(self._unlock)
            self._locks.append(_lock(self.config.data_root, "lock"))
            self._locks.append(_lock(self.config.exec_root, "daemon.lock"))  # the two roots may be one directory
            self._make(undo)
            self._restore()
            undo.pop_all()

    def _make(self, undo: ExitStack) -> None:
        config = self.config
        self.state = State(config.data_root / "engine.db")
        undo.callback(self.state.close)
        self.instance = _instance(self.state)
        self.drivers = Drivers(config, self.instance)
        self.drivers.validate()
        self.events.subscribe(self.drivers.hooks.event)
        self.images = Images(config, self.state, self.events, self.drivers, ids=self.ids)
        self.networks = Networks(config, self.state, self.events, self.drivers, ids=self.ids)
        self.volumes = Volumes(config, self.state, self.events, ids=self.ids)
        self.monitors = self._make_monitors()
        parts = self._parts()
        self.containers = Containers(parts)
        self.diagnosis = Diagnosis(parts)
        self.execs = self.containers.execs
        self.images.in_use = self.containers.made_from
        self.networks.save = parts.save
        self.networks.land = self.monitors.land
        self.monitors.open()
        undo.callback(self.monitors.close)

    def close(self) -> None:
        """Let go of everything; containers live on."""
        teardown(
            self.drivers.close,
            self.monitors.close,
            self.containers.close,
            self.networks.close,
            self.images.close,
            self.state.close,
            self._unlock,
        )

    def _unlock(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _exited(self, key: str, exit_: Exit) -> None:
        self.containers.exited(key, exit_)

    def _parts(self) -> Parts:
        clock = Clock()
        return Parts(
            config=self.config,
            state=self.state,
            events=self.events,
            drivers=self.drivers,
            images=self.images,
            networks=self.networks,
            volumes=self.volumes,
            monitors=self.monitors,
            registry=Registry(),
            cleaner=Cleaner(),
            clock=clock,
            snapshots=Snapshots(self.state),
            ids=self.ids,
            explanations=Explanations(self.config.data_root / "containers", clock),
        )

    def _make_monitors(self) -> Monitors:
        """Monitors' halves of our own runtimes are imported ahead of all containers; others' when they are used."""
        runtime = self.drivers.runtime()
        halves = [each.monitor_module for each in (runtime, *self.drivers.own("runtime").values())]
        expected = None if self.ids else runtime.usual(usual())
        return Monitors(dict.fromkeys(halves), self._exited, self.config.exec_root / "launching", expected)

    def _restore(self) -> None:
        """What lives is known before any driver acts, so that none of them takes it for an orphan."""
        self.images.open()
        self.volumes.load()
        found = self.containers.adopt()
        known = self.containers.list()
        layers = self.images.layers_in_use()
        for name, storage in self.drivers.loaded("storage").items():
            containers = [root for each in known if each.storage_driver == name for root in self.containers.roots(each)]
            self.drivers.restored("storage", name, partial(storage.restore, layers, containers))
        self.volumes.open(self.containers.volumes(), [each.id for each in found.running])
        self.networks.open(found.running, self.monitors.take_landings())
        for name, runtime in self.drivers.loaded("runtime").items():
            running = [each.id for each in found.running if each.runtime == name]
            try:
                self.drivers.restored("runtime", name, partial(runtime.restore, running))
            except (SampanError, OSError) as error:
                log.error("the runtime %s could not clean up: %s", name, error)
        self.containers.open(found)
        self.images.collect()


def _lock(root: Path, name: str) -> int:
    """flock(2) on a root: the kernel takes it back however the daemon ends."""
    root.mkdir(parents=True, exist_ok=True, mode=0o711)
    fd = os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(f"another sampan daemon is already using {root}") from None
    return fd


def _instance(state: State) -> str:
    """Eight hex characters, made when the data root is first used."""
    known = state.load("meta", str).get("instance")
    if known is None:
        known = secrets.token_hex(4)
        state.put("meta", "instance", known)
    return known
