"""The volumes service: which volumes there are, and who uses them."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sampan.config import Config
from sampan.errors import Conflict, NotFound, SampanError
from sampan.events import EventBus
from sampan.linux import trees
from sampan.linux.idmaps import SAME, IdMap
from sampan.state import State
from sampan.types import Volume
from sampan.volumes import device, request
from sampan.volumes.mounting import Mounting
from sampan.volumes.places import Places
from sampan.volumes.request import Request

log = logging.getLogger(__name__)

ANONYMOUS = "com.docker.volume.anonymous"
"""Docker's label of volumes that nobody named."""

_TABLE = "volumes"


class Volumes:
    """Synchronous and thread-safe. ``NotFound`` (``get x: no such volume``) for names that are none.

    A container *takes* its volumes when it is created and gives them back when it is removed. Between the two, none of
    them can be removed. A volume that was made for a container is *unclaimed* until the container is durable.
    """

    def __init__(self, config: Config, state: State, events: EventBus, *, ids: IdMap = SAME) -> None:
        self._state = state
        self._events = events
        self._places = Places(config.data_root / "volumes", ids)
        self._mounting = Mounting(self._places, config.exec_root / "subpaths")
        self._lock = threading.RLock()
        self._volumes: dict[str, Volume] = {}
        self._users: dict[str, set[str]] = {}

    # ── the engine's ───────────────────────────────────────────────────────────────────────────────────────────

    def load(self) -> None:
        """Called once, before the containers are known."""
        self._volumes = self._state.load(_TABLE, Volume)

    def open(self, users: Mapping[str, Collection[str]], running: Collection[str]) -> None:
        """Bring disk and kernel into line after any crash. ``users``: ids of containers by volume; ``running``: those
        of them that run."""
        self._users = {name: set(ids) for name, ids in users.items()}
        for name in self._places.restore(self._volumes):
            log.warning("the volume %s was found on disk and is known again", name)
            self._put(Volume(name=name, created=_now(self._places.data(name).stat().st_mtime)))
        mounted = {name: ids & set(running) for name, ids in self._users.items()}
        self._mounting.restore(self._volumes, mounted)
        for volume in self.list():
            if volume.unclaimed and not self._users.get(volume.name):
                self._remove_quietly(volume.name)
        threading.Thread(target=self._places.sweep, name="volumes", daemon=True).start()

    # ── clients' ───────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, body: Mapping[str, Any]) -> Volume:
        """``body`` is the Engine API's VolumeCreateOptions. One that exists is returned as it is; ``Conflict`` if it
        has another driver."""
        wanted = request.read(body)
        with self._lock:
            volume = self._get_or_make(wanted, unclaimed=False)
            with self.claiming([volume.name]):
                return volume

    def get(self, name: str) -> Volume:
        volume = self._volumes.get(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def list(self) -> builtins.list[Volume]:
        with self._lock:
            return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def mountpoint(self, name: str) -> Path:
        return self._places.data(name)

    def users(self, name: str) -> builtins.list[str]:
        """The ids of the containers that refer to it."""
        with self._lock:
            return sorted(self._users.get(name, ()))

    def usage(self, name: str) -> int:
        """Bytes on disk; 0 for a device that is not mounted."""
        try:
            fd = os.open(self._places.data(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return trees.disk_usage(fd)
        finally:
            os.close(fd)

    def remove(self, name: str) -> None:
        """``Conflict`` while containers refer to it."""
        self._remove(name)
        self._places.sweep()

    def prune(self, wanted: Callable[[Volume], bool]) -> tuple[builtins.list[str], int]:
        """Remove every volume that is ``wanted`` and that nobody uses; their names, and the bytes that were freed."""
        removed, freed = [], 0
        for volume in self.list():
            if self.users(volume.name) or not wanted(volume):
                continue
            size = self.usage(volume.name)
            with contextlib.suppress(Conflict, NotFound):  # somebody was quicker
                self._remove(volume.name)
                removed.append(volume.name)
                freed += 0 if device.present(volume.options) else size
        self._places.sweep()
        self._events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return removed, freed

    # ── containers' ────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, wanted: Request, user: str) -> Volume:
        """The volume, made if it is missing, in ``user``'s use until :meth:`give_back`."""
        request.check(wanted)
        with self._lock:
            volume = self._get_or_make(wanted, unclaimed=True)
            self._users.setdefault(volume.name, set()).add(user)
        return volume

    @contextlib.contextmanager
    def claiming(self, names: Iterable[str]) -> Iterator[None]:
        """What is written in this block, and that these volumes are somebody's who is durable: all or nothing."""
        with self._marking(names, unclaimed=False):
            yield

    @contextlib.contextmanager
    def disclaiming(self, names: Iterable[str]) -> Iterator[None]:
        """What is written in this block, and that these volumes go when nobody uses them: all or nothing. They go with
        :meth:`give_back`, or when the next daemon starts."""
        with self._marking(names, unclaimed=True):
            yield

    def give_back(self, names: Iterable[str], user: str) -> None:
        """``user`` uses them no more: those that are unclaimed and nobody's go. What was in them: :meth:`sweep`."""
        for name in names:
            with self._lock:
                users = self._users.get(name, set())
                users.discard(user)
                volume = self._volumes.get(name)
                if not users and volume is not None:
                    self._users.pop(name, None)
                    if volume.unclaimed:
                        self._remove_quietly(name)

    def sweep(self) -> None:
        """Remove from disk what is left of removed volumes; may take its time."""
        self._places.sweep()

    def fill(self, name: str, user: str, source: int, subpath: str = "") -> None:
        """Copy the directory ``source`` (a descriptor for reading), with its owner and mode, into a volume that is
        empty, or a directory in it that is: wholly or not at all, whenever the daemon may die."""
        self._mounting.fill(self.get(name), f"{user} fills", source, subpath)

    def mount(self, name: str, user: str, told: Mapping[str, str]) -> Path:
        """Make it ready for a container that starts. ``told`` is for the event. ``Invalid`` if that cannot be."""
        volume = self.get(name)
        data = self._mounting.mount(volume, user)
        self._event("mount", volume, {"container": user, **told})
        return data

    def unmount(self, name: str, user: str) -> None:
        """A container has ended. Idempotent."""
        volume, was = self._volumes.get(name), user in self._mounting.users(name)
        self._mounting.unmount(name, user)
        if volume is not None and was:
            self._event("unmount", volume, {"container": user})

    def hold(self, name: str, path: str) -> contextlib.AbstractContextManager[Path]:
        """A directory inside of a mounted volume, safe from links and from being exchanged, for a ``with`` block."""
        return self._mounting.hold(name, path)

    # ── inside ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _get_or_make(self, wanted: Request, *, unclaimed: bool) -> Volume:
        """Call with the lock held."""
        known = self._volumes.get(wanted.name)
        if known is not None:
            if known.driver != wanted.driver:
                raise Conflict(f"create {wanted.name}: conflict: volume name must be unique")
            return known
        volume = Volume(
            name=wanted.name or secrets.token_hex(32),
            created=_now(),
            labels=wanted.labels if wanted.name else {**wanted.labels, ANONYMOUS: ""},
            options=wanted.options,
            unclaimed=unclaimed,
        )
        self._put(volume)
        try:
            self._places.make(volume.name)
        except OSError:
            self._remove_quietly(volume.name)
            raise
        self._event("create", volume)
        return volume

    def _put(self, volume: Volume) -> None:
        self._state.put(_TABLE, volume.name, volume)
        self._volumes[volume.name] = volume

    @contextlib.contextmanager
    def _marking(self, names: Iterable[str], *, unclaimed: bool) -> Iterator[None]:
        with self._lock:  # before the database's: whoever holds that one must not wait for ours
            found = [volume for name in names if (volume := self._volumes.get(name)) and volume.unclaimed != unclaimed]
            if not found:
                yield
                return
            try:
                with self._state.transaction():
                    for volume in found:
                        volume.unclaimed = unclaimed
                        self._state.put(_TABLE, volume.name, volume)
                    yield
            except BaseException:
                for volume in found:
                    volume.unclaimed = not unclaimed
                raise

    def _remove(self, name: str) -> None:
        """All but what was in it, which the next sweep takes."""
        with self._lock:
            volume = self.get(name)
            if users := self._users.get(name):
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(users))}]")
            self._mounting.forget(name)
            away = self._places.put_away(name)
            try:
                self._state.delete(_TABLE, name)
            except SampanError:
                self._places.put_back(name, away)
                raise
            del self._volumes[name]
        self._event("destroy", volume)

    def _remove_quietly(self, name: str) -> None:
        try:
            self._remove(name)
        except (SampanError, OSError) as error:
            log.error("the volume %s could not be removed: %s", name, error)

    def _event(self, action: str, volume: Volume, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self._events.publish("volume", action, volume.name, {"driver": volume.driver, **more})


def _now(seconds: float | None = None) -> str:
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
