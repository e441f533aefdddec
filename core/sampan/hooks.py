"""Calling hooks: pluggy finds and matches them; each is called by itself: one that raises or hangs spoils nothing.

A call runs in a thread of its own, so that nobody has to wait for it longer than he wants; a thread that hangs is a
daemon thread, which does not keep the process from ending.
"""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import msgspec
import pluggy

from sampan import announced
from sampan.bounded import bounded
from sampan.drivers.hooks import PROJECT, Hooks
from sampan.drivers.steps import step

log = logging.getLogger(__name__)

GROUP = "sampan.hooks"
LOADING = 5.0  # seconds that a package gets to be imported
WAITING = 10_000  # events that may wait for a slow hook before new ones are dropped for it
AMENDING = ("container_creating", "container_starting")
WATCHING = {noun: f"{noun}_event" for noun in ("container", "image", "network", "volume")}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one package's hooks; ``reason`` is why not, or what went wrong last."""

    name: str
    package: str
    version: str
    usable: bool
    reason: str
    hooks: list[str]


class HookCaller:
    """The hooks of all installed packages. Thread-safe. ``patience`` is how many seconds an amending hook gets."""

    def __init__(self, patience: float = 2.0, entries: Iterable[EntryPoint] | None = None) -> None:
        self._patience = patience
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._hooks: dict[str, list[_Hook]] = {}
        self._found: list[tuple[str, str, str, str]] = []  # name, package, version, why it could not be loaded
        for entry in announced.entries([GROUP])[GROUP] if entries is None else entries:
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
        self._put_in_order()

    def creating(self, container: Mapping[str, Any], labels: dict[str, str]) -> None:
        """Let every ``container_creating`` hook amend ``labels``."""
        for hook in self._hooks.get("container_creating", ()):
            _amend(hook, container, labels, "labels", dict[str, str])

    def starting(self, container: Mapping[str, Any], spec: dict[str, Any]) -> None:
        """Let every ``container_starting`` hook amend ``spec``."""
        for hook in self._hooks.get("container_starting", ()):
            _amend(hook, container, spec, "spec", _Spec)

    def event(self, event: Mapping[str, Any]) -> None:
        """Tell every hook that watches this type of event; returns at once."""
        for hook in self._hooks.get(WATCHING.get(event["Type"], ""), ()):
            hook.tell(event)

    def report(self) -> list[Report]:
        """Every package that announces hooks."""
        made = []
        for name, package, version, broken in self._found:
            mine = [hook for hooks in self._hooks.values() for hook in hooks if hook.package == _named(name, package)]
            hanging = [hook.trouble for hook in mine if hook.hangs]
            reason = broken or next(iter(hanging), "") or next((hook.trouble for hook in mine if hook.trouble), "")
            usable = not broken and not hanging
            hooks = sorted(hook.name for hook in mine)
            made.append(Report(name=name, package=package, version=version, usable=usable, reason=reason, hooks=hooks))
        return made

    def _put_in_order(self) -> None:
        known = {hook.impl: hook for hooks in self._hooks.values() for hook in hooks}
        for name in (*AMENDING, *WATCHING.values()):
            impls = reversed(getattr(self._manager.hook, name).get_hookimpls())
            hooks = [known.get(impl) or _Hook(impl, name, self._patience) for impl in impls]
            if hooks:
                self._hooks[name] = hooks

    def _announce(self, entry: EntryPoint) -> None:
        package, version = announced.package(entry) or (entry.value, "?")
        broken = ""
        try:
            self.register(bounded(entry.load, LOADING), _named(entry.name, package))
        except TimeoutError:
            broken = f"not loaded within {LOADING:g} seconds"
        except (Exception, SystemExit) as error:
            broken = f"{type(error).__name__}: {error}"
        if broken:
            log.error("hooks %s (%s %s) were passed over: %s", entry.name, package, version, broken)
        self._found.append((entry.name, package, version, broken))


class _Hook:
    """One function of one package."""

    def __init__(self, impl: pluggy.HookImpl, name: str, patience: float) -> None:
        self.impl = impl
        self.name = name
        self.package = impl.plugin_name
        self.trouble = ""
        self._patience = patience
        self._late: set[_Call] = set()
        self._lock = threading.Lock()
        self._events: queue.Queue[Mapping[str, Any]] | None = None
        self._missed = 0

    @property
    def hangs(self) -> bool:
        """Is there a call that has not come back in time, nor since?"""
        with self._lock:
            self._late = {call for call in self._late if not call.over.is_set()}
            return bool(self._late)

    def amend(self, values: Mapping[str, Any]) -> bool:
        """Call it; False if it raises, takes too long, or still has not come back from an earlier call."""
        if self.hangs:
            return False
        call = _Call(self.impl, values)
        return self._in_time(call) and self._succeeded(call)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Call it later, in the order of calls, each when the one before has come back."""
        with self._lock:
            if self._events is None:
                self._events = queue.Queue(WAITING)
                threading.Thread(target=self._tell, name=f"hook {self.package}", daemon=True).start()
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._missed += 1
            if self._missed == 1:  # else the log would be all that is left of the disk
                log.error("%s is too slow: it misses events, %s the first", self, event.get("Action"))

    def failed(self, what: str, error: BaseException | None = None) -> None:
        self.trouble = f"{self.name} {what}"
        log.error("%s %s, and was passed over", self, what, exc_info=error)

    def _tell(self) -> None:
        assert self._events is not None
        while True:
            call = _Call(self.impl, {"event": copy.deepcopy(self._events.get())})
            self._in_time(call)
            call.over.wait()
            self._succeeded(call)
            if self._missed and self._events.empty():
                log.error("%s has missed %d events", self, self._missed)
                self._missed = 0

    def _in_time(self, call: _Call) -> bool:
        if call.over.wait(self._patience):
            return True
        with self._lock:
            self._late.add(call)
        self.failed(f"has not come back for {self._patience:g} seconds")
        return False

    def _succeeded(self, call: _Call) -> bool:
        if call.error is None:
            return True
        self.failed(f"raised {type(call.error).__name__}: {call.error}", call.error)
        return False

    def __str__(self) -> str:
        return f"the hook {self.name} of {self.package}"


class _Call:
    """One call, begun at once; ``over`` is set at its end."""

    def __init__(self, impl: pluggy.HookImpl, values: Mapping[str, Any]) -> None:
        self.error: BaseException | None = None
        self.over = threading.Event()
        self._function: Callable[..., object] = impl.function
        self._arguments = [values[name] for name in impl.argnames]
        threading.Thread(target=self._run, name=f"hook {impl.plugin_name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._function(*self._arguments)
        except BaseException as error:
            self.error = error
        finally:
            self.over.set()


def _amend(hook: _Hook, container: Mapping[str, Any], value: dict[str, Any], name: str, shape: Any) -> None:
    """The hook works on copies: one that hangs may wake up and go on whenever it likes."""
    mine = copy.deepcopy(value)
    with step(f"ask the hook {hook.name}", "hook", hook.package) as here:
        if not hook.amend({"container": copy.deepcopy(container), name: mine}):
            here.object += ", passed over"
            return
        try:
            mine = copy.deepcopy(mine)  # it may have kept it
            _plain(mine, name)
            msgspec.convert(mine, shape)
        except (Exception, SystemExit) as error:
            hook.failed(f"left no usable {name}: {error}")
            here.object += ", passed over"
            return
    value.clear()
    value.update(mine)


class _Process(msgspec.Struct):
    """What the engine and every runtime look into of an OCI configuration's ``process``."""

    args: list[str] = []
    env: list[str] = []
    cwd: str = "/"


class _Mount(msgspec.Struct):
    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []


class _Spec(msgspec.Struct):
    process: _Process = msgspec.field(default_factory=_Process)
    mounts: list[_Mount] = []
    hostname: str = ""
    annotations: dict[str, str] = {}
    root: dict[str, Any] = {}
    linux: dict[str, Any] = {}


def _plain(value: Any, where: str) -> None:
    """``TypeError`` unless it is made of what JSON is made of."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has a key that is no text: {key!r}")
            _plain(each, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            _plain(each, f"{where}[{index}]")
    elif not (value is None or isinstance(value, (bool, int, float, str))):
        raise TypeError(f"{where} is a {type(value).__name__}")


def _named(name: str, package: str) -> str:
    return f"{name} ({package})"
