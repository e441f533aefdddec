"""Finding, checking and holding drivers: stevedore picks them by name, whoever's package they come from.

Nothing that a package announces can stop the daemon or keep it waiting: a driver that cannot be imported, was written
for another contract, raises or hangs is reported by name (``sampan drivers``) and fails only those who ask for it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any, TypeVar, cast

import msgspec
from stevedore.driver import DriverManager

from sampan import announced, decode, nonsense
from sampan.bounded import Call
from sampan.config import Config
from sampan.drivers import NetworkDriver, RuntimeDriver, StorageDriver
from sampan.drivers.types import CONTRACT_VERSION, Check, Host
from sampan.errors import KINDS, Conflict, Internal, Invalid, NotFound, SampanError, Unavailable
from sampan.guard import Guarded, one_line, said
from sampan.hooks import GROUP, HookCaller, Report

log = logging.getLogger(__name__)
logging.getLogger("stevedore").setLevel(logging.WARNING)

Driver = StorageDriver | NetworkDriver | RuntimeDriver
CONTRACTS: dict[str, type[Driver]] = {"storage": StorageDriver, "network": NetworkDriver, "runtime": RuntimeDriver}
PATIENCE = 5.0  # seconds that somebody else's package gets to be imported, and its driver to check the host
OWN_PATIENCE = 60.0  # for our own: only a machine that crawls makes them slow
RESTORING = 30.0  # seconds for somebody else's driver to put right what an earlier daemon left
DEFAULT_RESTORING = 300.0  # the same for a default one, without which there is little to be done
OURS = "sampan"

T = TypeVar("T")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One driver that some installed package announces; ``reason`` says why it is not usable here.

    Packages with hooks are in the family ``hooks``: their functions are the feature ``hooks``, and ``reason`` is what
    went wrong with one of them last, even if all are usable again.
    """

    family: str
    name: str
    package: str
    version: str
    usable: bool
    reason: str = ""
    default: bool = False
    features: dict[str, Any] = {}


class Drivers:
    """All drivers of all families; made once per daemon. Thread-safe. Nothing is imported before it is asked for."""

    def __init__(self, config: Config, instance: str) -> None:
        self._config = config
        self._slots: dict[str, dict[str, _Slot]] = {}
        entries = announced.entries([*(f"sampan.{family}" for family in CONTRACTS), GROUP])
        for family in CONTRACTS:
            by_name: dict[str, list[EntryPoint]] = {}
            for entry in entries[f"sampan.{family}"]:
                by_name.setdefault(entry.name, []).append(entry)
            self._slots[family] = {
                name: _Slot(family, name, by_name[name], config, instance) for name in sorted(by_name)
            }
        self.hooks = HookCaller(config.hooks.patience, entries[GROUP])

    def storage(self, name: str | None = None) -> StorageDriver:
        """The storage driver called ``name``, or the default one. ``NotFound`` names those that exist;
        ``Conflict`` if two packages claim the name; ``Unavailable`` says why it cannot be used here."""
        return cast(StorageDriver, self._slot("storage", name).usable())

    def network(self, name: str | None = None) -> NetworkDriver:
        """The same for networks."""
        return cast(NetworkDriver, self._slot("network", name).usable())

    def runtime(self, name: str | None = None) -> RuntimeDriver:
        """The same for runtimes."""
        return cast(RuntimeDriver, self._slot("runtime", name).usable())

    def loaded(self, family: str) -> dict[str, Any]:
        """Every driver of ``family`` that is usable here, by name; the others are reported in the log."""
        drivers = {}
        for name, (slot, found) in self._all_usable(family).items():
            if isinstance(found, SampanError):
                slot.passed_over(found)
            else:
                drivers[name] = found
        return drivers

    def _all_usable(self, family: str) -> dict[str, tuple[_Slot, Driver | SampanError]]:
        """Imported one after the other, and checked all at once: that is waiting for the kernel and for programs."""
        found: dict[str, tuple[_Slot, Driver | SampanError]] = {}

        def look(name: str, slot: _Slot) -> None:
            try:
                found[name] = slot, slot.usable()
            except SampanError as error:
                found[name] = slot, error

        threads = []
        for name, slot in self._slots[family].items():
            with suppress(SampanError):  # it is raised again
                slot.driver()
            threads.append(threading.Thread(target=look, args=[name, slot], daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return {name: found[name] for name in self._slots[family]}

    def own(self, family: str) -> dict[str, Any]:
        """Those of them that come with this package."""
        return {name: each for name, each in self.loaded(family).items() if self._slots[family][name].ours}

    def ours(self, family: str, name: str) -> bool:
        """Is it one of the built-in drivers, for which everybody may wait?"""
        slot = self._slots[family].get(name)
        return slot is None or slot.ours

    def close(self) -> None:
        """The engine ends, and waits for nobody's driver any more."""
        for slots in self._slots.values():
            for slot in slots.values():
                slot.close()

    def restored(self, family: str, name: str, restore: Callable[[], None]) -> None:
        """Call ``restore``, which has the driver put right what an earlier daemon left.

        A driver that cannot is not used by this daemon, and ``found`` says why; somebody else's has only so much time,
        for one that came back late would remove what was made meanwhile. A default driver's error is raised.
        """
        slot = self._slots[family][name]
        default = getattr(self._config, family).driver == name
        if default and slot.ours:
            restore()
            return
        patience = threading.TIMEOUT_MAX if slot.ours else DEFAULT_RESTORING if default else RESTORING
        try:
            slot.guarded("put right what an earlier daemon left", restore, patience)
        except SampanError as error:
            slot.broken = error
            if default:
                raise
            log.error("passed over: %s", error.message)

    def found(self) -> list[Found]:
        """Every driver that is announced, in families, by name; checked now, all at once."""
        slots = [slot for family in self._slots.values() for slot in family.values()]
        reports: dict[int, list[Found]] = {}
        threads = [
            threading.Thread(target=lambda i=i, slot=slot: reports.update({i: slot.report()}), daemon=True)
            for i, slot in enumerate(slots)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found for i in range(len(slots)) for found in reports[i]] + [
            _hooks(each) for each in self.hooks.report()
        ]

    def validate(self) -> None:
        """Check what the configuration says of drivers: names and options. ``Invalid`` names the key.

        A driver whose package is broken cannot tell its options: that is an error only for a default driver.
        """
        for family, slots in self._slots.items():
            section = getattr(self._config, family)
            if section.driver not in slots:
                sentence = f"{section.driver!r} is not allowed; expected one of {', '.join(slots)}"
                raise decode.InvalidKey((family, "driver"), sentence)
            for name in section.options:
                if name not in slots:
                    path = (family, "options", name)
                    raise decode.InvalidKey(path, decode.unknown(name, list(slots), f"{family} driver"))
            for name in {section.driver, *section.options}:
                try:
                    slots[name].driver()
                except Invalid:
                    raise
                except SampanError as error:
                    if name == section.driver:
                        raise Invalid(f"{family}.driver: {error.message}") from None
                    log.warning("%s", error.message)

    def _slot(self, family: str, name: str | None) -> _Slot:
        slots = self._slots[family]
        wanted = name or getattr(self._config, family).driver
        if wanted not in slots:
            raise NotFound(f"no {family} driver is called {wanted!r}; found here: {', '.join(slots) or 'none'}")
        return slots[wanted]


class _Slot:
    """One driver name of one family: the packages that claim it, and the driver once it was made."""

    def __init__(self, family: str, name: str, entries: list[EntryPoint], config: Config, instance: str) -> None:
        self.family, self.name, self.entries, self.config = family, name, entries, config
        self.host = Host(
            instance=instance,
            data_root=config.data_root / family / name,
            exec_root=config.exec_root / family / name,
        )
        self.broken: SampanError | None = None
        self._driver: Driver | None = None  # as the engine sees it
        self._bare: Any = None  # as it is
        self._asked: Call[Any] | None = None  # the last check
        self._check = Check(False)
        self._features: Any = None
        self._told = ""
        self._lock = threading.Lock()

    def driver(self) -> Driver:
        """The driver, made at the first call. What failed once fails for good: only a new process imports anew."""
        with self._lock:
            if self.broken:
                raise self.broken.with_traceback(None)
            if self._driver is None:
                try:
                    self._driver = self.guarded("be loaded", self._make)
                except SampanError as error:
                    self.broken = error
                    raise
            return self._driver

    def close(self) -> None:
        if isinstance(self._driver, Guarded):
            self._driver.close()

    def passed_over(self, why: SampanError) -> None:
        """Say so in the log, once: all are asked for several times while the engine comes up."""
        if why.message != self._told:
            log.log(logging.WARNING if self.broken else logging.INFO, "passed over: %s", why.message)
            self._told = why.message

    def usable(self) -> Driver:
        """The driver, if it says that this host will do. Asked again until it does: the host may be put right."""
        driver = self.driver()
        if not self._check.usable:
            check = self.check()
            if not check.usable:
                raise Unavailable(f"{self.family} driver {self.name!r} cannot be used here: {one_line(check.reason)}")
        return driver

    def check(self) -> Check:
        """Asked anew; what was usable stays so for the engine if it cannot tell for once."""
        self.driver()
        with self._lock:
            if self.broken:
                raise self.broken.with_traceback(None)
            if self._asked is not None and self._asked.hangs:
                raise Unavailable(f"{self.who} could not check this host within {PATIENCE:g} seconds, nor since")
            check = self._ask("check", "check this host", nonsense.check)
            self._features = self._ask("features", "tell its features", self._believed_features)
            if isinstance(self._driver, Guarded):
                self._driver.known(self._features)
            self._check = check
            return check

    def _ask(self, name: str, verb: str, believe: Callable[[Any], T]) -> T:
        """Before anything is built on its answers: are they answers at all?"""

        def ask() -> T:
            answer = getattr(self._bare, name)()
            try:
                return believe(answer)
            except nonsense.Nonsense as error:
                raise _Nonsense(f"{self.who}: {name}() returned {error}") from None

        return self.guarded(verb, ask)

    def _believed_features(self, answer: Any) -> Any:
        return nonsense.features(answer, self.family)

    def report(self) -> list[Found]:
        """One entry for each package that claims the name."""
        features: dict[str, Any] = {}
        try:
            check = self.check()
            features = msgspec.to_builtins(self._features)
        except SampanError as error:
            check = Check(False, error.message)
        if isinstance(self._driver, Guarded) and (hanging := self._driver.hanging()):
            check = Check(False, f"it hangs: {hanging}")
        default = getattr(self.config, self.family).driver == self.name
        return [
            Found(
                family=self.family,
                name=self.name,
                package=package.name if package else "?",
                version=package.version if package else "?",
                usable=check.usable,
                reason=one_line(check.reason),
                default=default,
                features=features,
            )
            for entry in self.entries
            for package in [announced.package(entry)]
        ]

    def _make(self) -> Driver:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.name):
            raise Invalid(f"{self.name!r} is no name for a driver; expected lower-case letters, digits, '_.-'")
        if len(self.entries) > 1:
            packages = " and ".join(sorted(_package(entry) for entry in self.entries))
            raise Conflict(f"the name is claimed by {packages}; uninstall one")
        kind = _Picker(f"sampan.{self.family}", self.name, self.entries).driver
        contract = CONTRACTS[self.family]
        if not (isinstance(kind, type) and issubclass(kind, contract)):
            raise Invalid(f"{self.entries[0].value} is not a {contract.__name__}")
        if kind.contract != CONTRACT_VERSION:
            raise Unavailable(f"it speaks contract {kind.contract!r}, this sampan speaks {CONTRACT_VERSION}")
        if not (isinstance(kind.Options, type) and issubclass(kind.Options, msgspec.Struct)):
            raise Invalid(f"its Options are {kind.Options!r}; expected a class, a msgspec.Struct")
        data = getattr(self.config, self.family).options.get(self.name, {})
        self._bare = kind(self.host, decode.struct(data, kind.Options, (self.family, "options", self.name)))
        if self.ours:
            return cast(Driver, self._bare)
        if self.family == "runtime" and not isinstance(half := getattr(kind, "monitor_module", None), str):
            raise Invalid(f"its monitor_module is {half!r}; expected a module's name")
        patience = getattr(self.config, self.family).patience
        return cast(Driver, Guarded(self._bare, contract, self.who, patience))

    @cached_property
    def ours(self) -> bool:
        """Is it one of the built-in drivers?"""
        package = announced.package(self.entries[0])
        return package is not None and package.name == OURS

    @cached_property
    def who(self) -> str:
        return f"{self.family} driver {self.name!r} ({', '.join(_package(entry) for entry in self.entries)})"

    def guarded(self, verb: str, function: Callable[[], T], patience: float | None = None) -> T:
        """``function`` within ``patience`` seconds; what it raises is told as the sentence: it cannot ``verb``."""
        who = self.who
        if patience is None:
            patience = OWN_PATIENCE if self.ours else PATIENCE
        self._asked = call = Call(function)
        try:
            return call.result(patience)
        except (decode.InvalidKey, _Nonsense):
            raise
        except TimeoutError:
            raise Unavailable(f"{who} could not {verb} within {patience:g} seconds") from None
        except SampanError as error:
            kind = next(each for each in type(error).__mro__ if each in (*KINDS.values(), SampanError))
            raise kind(f"{who} cannot {verb}: {said(error)}") from error
        except BaseException as error:
            log.debug("%s cannot %s", who, verb, exc_info=error)
            raise Unavailable(f"{who} cannot {verb}: {said(error)}") from error


class _Nonsense(Internal):
    """It names the driver already."""


class _Picker(DriverManager):  # type: ignore[misc]
    """stevedore, told which entry points there are.

    By itself it would keep them in a file under the user's cache directory, without their packages, and believe
    that file later: not what a daemon of root should load code by.
    """

    def __init__(self, group: str, name: str, entries: list[EntryPoint]) -> None:
        self._entries = entries
        super().__init__(group, name)

    def list_entry_points(self) -> list[EntryPoint]:
        return self._entries


def _hooks(report: Report) -> Found:
    return Found(
        family="hooks",
        name=report.name,
        package=report.package,
        version=report.version,
        usable=report.usable,
        reason=report.reason,
        features={"hooks": report.hooks},
    )


def _package(entry: EntryPoint) -> str:
    return str(announced.package(entry) or entry.value)
