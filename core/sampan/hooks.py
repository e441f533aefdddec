"""Calling hooks: pluggy finds and matches them; each is called by itself, so that one that raises spoils nothing."""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from sampan.bounded import bounded
from sampan.drivers.hooks import PROJECT, Hooks

log = logging.getLogger(__name__)

GROUP = "sampan.hooks"
PATIENCE = 5.0  # seconds that a package gets to be imported
WAITING = 10_000  # events that may wait for slow hooks before new ones are dropped for them


class HookCaller:
    """The hooks of all installed packages. Thread-safe."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._events: queue.Queue[Mapping[str, Any]] = queue.Queue(WAITING)
        self._worker: threading.Thread | None = None
        self._lock = threading.Lock()
        for entry in entry_points(group=GROUP):
            self._announce(entry)

    def register(self, plugin: object, name: str) -> None:
        """Add a module or object with hook functions. ``ValueError`` if they do not fit the specifications."""
        self._manager.register(plugin, name)
        for caller in self._manager.get_hookcallers(plugin) or ():
            mine = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
            problem = "" if caller.has_spec() else f"there is no hook called {caller.name!r}"
            if any(impl.wrapper or impl.hookwrapper for impl in mine):
                problem = f"{caller.name!r} is a wrapper; a hook may watch and amend, not wrap the others"
            if problem:
                self._manager.unregister(plugin)
                raise ValueError(problem)

    def starting(self, container: Mapping[str, Any], spec: dict[str, Any]) -> None:
        """Let every ``container_starting`` hook amend ``spec``. What a hook that raises did to it is taken back."""
        for impl in reversed(self._manager.hook.container_starting.get_hookimpls()):
            before = copy.deepcopy(spec)
            if not _call(impl, {"container": container, "spec": spec}):
                spec.clear()
                spec.update(before)

    def event(self, event: Mapping[str, Any]) -> None:
        """Tell every ``container_event`` hook, in a thread of their own; returns at once."""
        if not self._manager.hook.container_event.get_hookimpls():
            return
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(target=self._tell, name="hooks", daemon=True)
                self._worker.start()
        try:
            self._events.put_nowait(event)
        except queue.Full:
            log.error("hooks are too slow: the event %s was not told to them", event.get("Action"))

    def _tell(self) -> None:
        while True:
            event = self._events.get()
            for impl in reversed(self._manager.hook.container_event.get_hookimpls()):
                _call(impl, {"event": event})

    def _announce(self, entry: EntryPoint) -> None:
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            self.register(bounded(entry.load, PATIENCE), f"{entry.name} ({package})")
        except TimeoutError:
            log.error("hooks %s (%s) were passed over: not loaded within %g seconds", entry.name, package, PATIENCE)
        except (Exception, SystemExit) as error:
            log.error("hooks %s (%s) were passed over: %s: %s", entry.name, package, type(error).__name__, error)


def _call(impl: pluggy.HookImpl, values: Mapping[str, Any]) -> bool:
    try:
        impl.function(*(values[name] for name in impl.argnames))
    except (Exception, SystemExit):
        log.exception("the hook %s of %s failed and was passed over", impl.function.__name__, impl.plugin_name)
        return False
    return True
