"""The firewall's keeper: a thread that hears when somebody else has changed the instance's table, and puts it back.

It sleeps until the kernel tells it of a transaction, and passes over those of the instance itself and what others do to
the user's chain. However often somebody takes the table away, it is put back at most five times a second: two who
fight over a table do not eat the machine. Where changes cannot be heard, it looks every few seconds.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref

from sampan.errors import SampanError, Unavailable
from sampan.linux.rulewatch import RuleWatch, Transaction
from sampan_network import flows
from sampan_network import table as layout
from sampan_network.firewall import Firewall

log = logging.getLogger(__name__)

_PAUSE = 0.2  # seconds between two repairs
_LOOK = 5.0  # seconds between two looks, where nothing is heard
_QUIET = 60.0  # seconds for which what was said of a repair is not said again
_INET = 1  # NFPROTO_INET


class Keeper:
    """:meth:`start` it once."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall
        self._said = -_QUIET
        self._watch: RuleWatch | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch the network namespace of the calling thread. It ends with the process, or with its owner."""
        if self._thread is not None:
            return
        try:
            self._watch = RuleWatch() if self._firewall.signs else None
        except SampanError as error:
            log.warning("%s: looking every %g seconds", error.message, _LOOK)
        work = self._listen if self._watch else self._look
        self._thread = threading.Thread(target=work, name="firewall", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._watch:
            self._watch.close()

    def _listen(self) -> None:
        watch, last, damaged = self._watch, -_PAUSE, False
        while watch and not self._stop.is_set():
            wait = max(0.0, last + _PAUSE - time.monotonic()) if damaged else None
            try:
                damaged = any([damaged, *(self._concerns(one) for one in watch.transactions(wait))])
            except Unavailable:
                return
            if damaged and time.monotonic() >= last + _PAUSE and not self._stop.is_set():
                damaged = not self._repair()
                last = time.monotonic()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK):
            try:
                if not self._firewall.whole():
                    self._repair()
            except SampanError as error:
                log.warning("the firewall could not be looked at: %s", error.message)

    def _concerns(self, done: Transaction) -> bool:
        """Did somebody else do something to what is ours?"""
        if done.lost:
            return True
        name = self._firewall.name
        if done.by == name:
            return False
        return any(
            part.family == _INET and part.table == name and not layout.is_users(part.name) for part in done.parts
        )

    def _repair(self) -> bool:
        try:
            if self._firewall.heal():
                self._say("the firewall table %s was changed by somebody else: it is as it must be again")
                flows.mend(self._firewall)
        except Exception as error:  # whatever it was, the next try may go better
            self._say("the firewall table %s could not be put back: " + str(error).replace("%", "%%"))
            return False
        return True

    def _say(self, text: str) -> None:
        if time.monotonic() >= self._said + _QUIET:
            self._said = time.monotonic()
            log.warning(text, self._firewall.table)


def keep(owner: object, firewall: Firewall) -> Keeper:
    """A keeper that watches until ``owner`` is gone."""
    keeper = Keeper(firewall)
    weakref.finalize(owner, keeper.stop)
    keeper.start()
    return keeper
