"""``host``: no network namespace of its own; the container sees the host's links, addresses and ports."""

from __future__ import annotations

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Check, NetworkFeatures


class Host(NetworkDriver):
    def check(self) -> Check:
        return Check(True)

    def features(self) -> NetworkFeatures:
        return NetworkFeatures(sandbox="host", single=True)
