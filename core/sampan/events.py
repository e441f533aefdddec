"""The event bus: what happened, in Docker's words, to whoever listens.

An event has the shape of the Engine API's ``EventMessage``: ``Type`` (container, image, network, volume, daemon),
``Action``, ``Actor`` (``ID`` and ``Attributes``), ``scope``, ``time`` in seconds and ``timeNano``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

Event = dict[str, Any]
Listener = Callable[[Event], None]

KEPT = 1024  # what a client can ask for with ``since``


class EventBus:
    """Thread-safe. Listeners are called in the publisher's thread, so they only pass the event on and never block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: list[Listener] = []

    def publish(self, noun: str, action: str, ident: str, attributes: Mapping[str, str] | None = None) -> Event:
        now = time.time_ns()
        event: Event = {
            "Type": noun,
            "Action": action,
            "Actor": {"ID": ident, "Attributes": dict(attributes or {})},
            "scope": "local",
            "time": now // 1_000_000_000,
            "timeNano": now,
        }
        with self._lock:
            self._kept.append(event)
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(event)
        return event

    def subscribe(self, listener: Listener, *, since: int | None = None) -> list[Event]:
        """Call ``listener`` with every event from now on; returns the kept ones since ``since`` (nanoseconds)."""
        with self._lock:
            self._listeners.append(listener)
            return [] if since is None else [event for event in self._kept if event["timeNano"] >= since]

    def unsubscribe(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
