"""``none``: a network namespace with nothing in it but the loopback that every sandbox has."""

from __future__ import annotations

from sampan.drivers import NetworkDriver
from sampan.drivers.types import Check, NetworkFeatures


class Nothing(NetworkDriver):
    def check(self) -> Check:
        return Check(True)

    def features(self) -> NetworkFeatures:
        return NetworkFeatures(sandbox="own", single=True)
