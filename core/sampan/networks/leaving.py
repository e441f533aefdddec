"""Endpoints that have left as far as anyone can see, and whose links the kernel still takes its time for.

Only when their driver says that they are gone are their addresses given back. Each driver has a thread of its own here:
one that hangs keeps nobody's addresses but its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

from sampan.drivers import NetworkDriver
from sampan.drivers.types import EndpointSpec, NetworkSpec
from sampan.networks.addresses import Addresses

log = logging.getLogger(__name__)

_GRACE = 0.1  # seconds in which the kernel removes the links of a sandbox by itself, many at a time


class Left(NamedTuple):
    """``due`` is when to look after its links."""

    due: float
    driver: NetworkDriver
    network: NetworkSpec
    endpoint: EndpointSpec
    addresses: Addresses


class _Lane:
    """Those of one driver, by its name."""

    def __init__(self) -> None:
        self.left: deque[Left] = deque()
        self.at_work = False
        self.thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self.at_work or bool(self.left)


class Leaving:
    """Thread-safe."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._closing = False

    def later(self, driver: NetworkDriver, network: NetworkSpec, endpoint: EndpointSpec, addresses: Addresses) -> None:
        """Have the driver take the endpoint away in a moment, and give its addresses back."""
        with self._change:
            lane = self._lanes.setdefault(network.driver, _Lane())
            lane.left.append(Left(time.monotonic() + _GRACE, driver, network, endpoint, addresses))
            if lane.thread is None:
                lane.thread = threading.Thread(target=self._work, args=[lane], name="leaving", daemon=True)
                lane.thread.start()
            self._change.notify_all()

    def settle(self, driver: str, timeout: float = 30.0) -> bool:
        """Have everything that left networks of the driver really gone; false if nothing was on its way."""
        with self._change:
            lane = self._lanes.get(driver)
            if lane is None or not lane.busy:
                return False
            self._hurry(lane)
            self._change.wait_for(lambda: not lane.busy, timeout)
            return True

    def close(self, timeout: float = 5.0) -> None:
        """What takes longer is the next engine's to put right."""
        with self._change:
            lanes = list(self._lanes.values())
            for lane in lanes:
                self._hurry(lane)
            self._change.wait_for(lambda: not any(lane.busy for lane in lanes), timeout)
            self._closing = True
            self._change.notify_all()
        for lane in lanes:
            if lane.thread and not lane.busy:
                lane.thread.join(timeout)

    def _hurry(self, lane: _Lane) -> None:
        lane.left = deque(left._replace(due=0.0) for left in lane.left)
        self._change.notify_all()

    def _work(self, lane: _Lane) -> None:
        while (left := self._next(lane)) is not None:
            try:
                left.driver.leave(left.network, left.endpoint, None)
                left.addresses.release(left.endpoint.addresses)
            except Exception:  # its addresses stay taken: they may still be in use
                log.exception("container %s could not leave %s", left.endpoint.container[:12], left.network.name)
            with self._change:
                lane.at_work = False
                self._change.notify_all()

    def _next(self, lane: _Lane) -> Left | None:
        """The next that is due; nothing when all is over."""
        with self._change:
            while not lane.left or lane.left[0].due > time.monotonic():
                if self._closing:
                    return None
                self._change.wait(lane.left[0].due - time.monotonic() if lane.left else None)
            lane.at_work = True
            return lane.left.popleft()
