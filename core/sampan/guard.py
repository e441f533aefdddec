"""At the border to other people's drivers: no call is waited for longer than it may take, and whatever one raises or
returns that its contract does not know is told in one sentence, with the driver's name and the call's.

A call that has taken longer than its family's patience (``storage.patience`` … in the configuration) is given up: the
caller gets ``Unavailable`` and undoes what it has done, and whoever asks for something new of that driver is refused at
once, until the call has come back. What ends things (``leave``, ``remove`` …) is tried all the same, once each and for
a short time. What a call that comes back late has made is taken away again, by the driver's own means.

The built-in drivers are not guarded: they are held to the contracts by types and tests, and a call costs less.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, cast

from sampan.bounded import Call
from sampan.drivers.steps import carried
from sampan.errors import KINDS, Exhausted, Internal, SampanError, Unavailable
from sampan.nonsense import BELIEVED, Nonsense

log = logging.getLogger(__name__)

HURRY = 5.0  # seconds for what ends things while another call of the same driver hangs
_MOMENTS = 0.5  # seconds, when the engine is ending
_LONG = 500  # characters of what somebody else has to say
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)

_UNBOUNDED = {"check", "features", "restore"}
"""Whoever makes these calls bounds them in time, and tells what went wrong in words of its own."""

_LOOKING = {
    "layers", "changes", "usage", "describe", "validate", "usual", "exec_order", "processes", "frozen", "stats",
    "starvation", "examine",
}  # fmt: skip
"""They change nothing: one that hangs stands in the way of its like only."""

_UNDOING = {
    "begin_layer": "remove_layer",
    "place_layer": "remove_layer",
    "commit_layer": "remove_layer",
    "create": "remove",
    "create_network": "remove_network",
    "join": "leave",
    "publish": "unpublish",
    "pause": "resume",
}
"""What takes away what a call has made that nobody knows of: it came back late, or fell over half-way."""

_MAKING = {*_UNDOING, "mount", "order", "update", "route"}
"""What is refused while anything that changes something hangs: a hanging ``remove`` may wake up and go on."""


class Guarded:
    """A driver of somebody else's, as the engine sees it; ``who`` is how errors call it. Thread-safe.

    Each call is made in a thread of its own. What the driver calls of itself is not guarded once more.
    """

    def __init__(self, driver: Any, contract: type[Any], who: str, patience: float) -> None:
        self._driver = driver
        self._who = who
        self._patience = patience
        self._lock = threading.Lock()
        self._late: dict[Call[Any], tuple[str, float]] = {}
        self._open: set[Call[Any]] = set()
        self._closed = False
        for name, member in vars(contract).items():
            if callable(member) and name[0] != "_" and name not in _UNBOUNDED and not isinstance(member, type):
                call = functools.partial(self._call, name)
                setattr(self, name, functools.update_wrapper(call, member))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def known(self, features: Any) -> None:
        """Its features, which are constant: it is not asked again."""
        self.features = lambda: features

    def hanging(self) -> str:
        """A sentence about the call that has hung for the longest time, or ``""``."""
        hanging = self._hanging()
        if not hanging:
            return ""
        name, since = min(hanging, key=lambda each: each[1])
        return f"{name}() was called {time.monotonic() - since:.0f} seconds ago and has not come back"

    def close(self) -> None:
        """The engine ends: nobody waits for a call any more, but for moments."""
        with self._lock:
            self._patience = min(self._patience, _MOMENTS)
            self._closed = True
            calls = list(self._open)
        until = time.monotonic() + self._patience
        for call in calls:
            call.over.wait(max(0.0, until - time.monotonic()))
            call.give_up()

    def _hanging(self) -> list[tuple[str, float]]:
        with self._lock:
            self._late = {call: what for call, what in self._late.items() if not call.over.is_set()}
            return list(self._late.values())

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        hanging = {each for each, _ in self._hanging()}
        if name in hanging or (name in _MAKING and hanging - _LOOKING):
            raise Unavailable(f"{self._who}: {name}() is not called, for it hangs: {self.hanging()}")
        patience = min(self._patience, HURRY) if hanging else self._patience
        since = time.monotonic()
        function = carried(functools.partial(self._believed, name, args, options))
        call = Call(function, functools.partial(self._too_late, name, args), threading.current_thread().name)
        with self._lock:
            self._open.add(call)
        try:
            return call.result(patience)
        except TimeoutError:
            with self._lock:
                self._late[call] = name, since
            if self._closed:  # it may be slow, and no more than that
                raise Unavailable(f"{self._who}: {name}() is not waited for, for the engine ends") from None
            took = f"within {min(patience, time.monotonic() - since):.3g} seconds"
            log.error("%s hangs: %s() did not come back %s", self._who, name, took)
            raise Unavailable(f"{self._who} hangs: {name}() did not come back {took}") from None
        finally:
            with self._lock:
                self._open.discard(call)

    def _believed(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The call itself, in its own thread: even what its errors say is worked out there."""
        try:
            answer = getattr(self._driver, name)(*args, **options)
            believe = BELIEVED.get(name)
            return answer if believe is None else believe(answer)
        except SampanError as error:
            raise _known(error) from error
        except Nonsense as error:
            self._undo(name, args)
            raise Internal(f"{self._who}: {name}() returned {error}") from None
        except BaseException as error:
            self._undo(name, args)
            kind = Exhausted if isinstance(error, OSError) and error.errno in _FULL else Internal
            raise kind(f"{self._who}: {name}() failed: {said(error)}") from error

    def _too_late(self, name: str, args: tuple[Any, ...], answer: Any) -> None:
        log.warning("%s: %s() has come back after all", self._who, name)
        if name in ("mount", "starvation") and answer is not None:
            os.close(answer)
        self._undo(name, args)

    def _undo(self, name: str, args: tuple[Any, ...]) -> None:
        undoing = _UNDOING.get(name)
        if undoing is None:
            return
        try:
            getattr(self._driver, undoing)(*_arguments(name, args))
        except BaseException as error:
            log.error("%s: %s() after a lost %s() failed: %s", self._who, undoing, name, said(error))


def _arguments(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Those of the undoing call: the first one, or all; a sandbox that is gone by now is None."""
    if name in ("publish", "create_network"):
        return args
    if name == "place_layer":
        return args[1:2]
    if name == "join":
        return tuple(None if isinstance(each, Path) and not each.exists() else each for each in args)
    return args[:1]


def _known(error: SampanError) -> SampanError:
    """A kind of its own is told as the one that it is a kind of."""
    if type(error) in KINDS.values():
        return error
    for each in type(error).__mro__:
        if each in KINDS.values():
            return cast(type[SampanError], each)(said(error))
    return Internal(said(error))


def one_line(text: str) -> str:
    """What somebody else has written, in one line of bearable length that does nothing to a terminal."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[:_LONG]).split())
    return line if len(text) <= _LONG else f"{line}…"


def said(error: BaseException) -> str:
    """An error in one line of bearable length, whatever it is made of."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = ""
    kind = type(error).__name__
    if isinstance(error, SampanError):
        return text or kind
    return f"{kind}: {text[:_LONG]}" if text else kind
