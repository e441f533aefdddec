"""``internal``: a bridge that leads nowhere. Its containers reach one another, and nobody else, the host included."""

from __future__ import annotations

from sampan.drivers.types import NetworkFeatures
from sampan_network.bridge import Bridge
from sampan_network.settings import KNOWN


class Internal(Bridge):
    owner = "internal"
    prefix = "i"

    def features(self) -> NetworkFeatures:
        return NetworkFeatures(sandbox="own", addresses=True, names=True, internal=True, options=KNOWN)
