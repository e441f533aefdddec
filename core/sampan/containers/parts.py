"""What every part of the containers' service works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sampan.config import Config
from sampan.containers.cleaner import Cleaner
from sampan.containers.clock import Clock
from sampan.containers.explaining import Explanations
from sampan.containers.registry import Registry
from sampan.containers.snapshots.records import Snapshots
from sampan.drivers import RuntimeDriver, StorageDriver
from sampan.events import EventBus
from sampan.linux.idmaps import SAME, IdMap
from sampan.plugins import Drivers
from sampan.state import State
from sampan.types import Container

if TYPE_CHECKING:
    from sampan.containers.monitors import Monitors
    from sampan.images.service import Images
    from sampan.networks import Networks
    from sampan.volumes import Volumes

TABLE = "containers"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """``ids``: whose files containers' are on disk, and who their processes are unless they ask for the host's ids."""

    config: Config
    state: State
    events: EventBus
    drivers: Drivers
    images: Images
    networks: Networks
    volumes: Volumes
    monitors: Monitors
    registry: Registry
    cleaner: Cleaner
    explanations: Explanations
    snapshots: Snapshots
    clock: Clock = msgspec.field(default_factory=Clock)
    ids: IdMap = SAME

    def save(self, record: Container) -> None:
        """When this returns, the record survives the loss of power, or if it is to be removed at its end, which is
        what the next daemon does then, at least the daemon."""
        self.state.put(TABLE, record.id, record, lasting=not record.host_config["AutoRemove"])

    def announce(self, record: Container, action: str, **attributes: str) -> None:
        """Publish an event with Docker's attributes."""
        basic = {**record.config["Labels"], "image": record.image_reference, "name": record.name}
        self.events.publish("container", action, record.id, {**basic, **attributes})

    def ids_of(self, record: Container) -> IdMap:
        """Who a container's processes are on the host (``--userns``)."""
        return SAME if record.host_config.get("UsernsMode") == "host" else self.ids

    def about(self, record: Container) -> dict[str, Any]:
        """What hooks are told of a container (see :mod:`sampan.drivers.hooks`)."""
        return {
            "id": record.id,
            "name": record.name,
            "image": record.image_reference,
            "labels": dict(record.config["Labels"]),
            "runtime": record.runtime,
            "storage": record.storage_driver,
        }

    def runtime(self, record: Container) -> RuntimeDriver:
        return self.drivers.runtime(record.runtime)

    def storage(self, record: Container) -> StorageDriver:
        return self.drivers.storage(record.storage_driver)

    def lane(self, record: Container) -> str:
        """Whose work its cleaning up is: somebody else's driver may take its time (see :class:`Cleaner`)."""
        asked = (("runtime", record.runtime), ("storage", record.storage_driver))
        return " ".join(name for family, name in asked if not self.drivers.ours(family, name))

    def directory(self, ident: str) -> Path:
        """What must survive a reboot: the log."""
        return self.config.data_root / "containers" / ident

    def bundle(self, ident: str) -> Path:
        """What need not: the files under /etc, the root's mount point."""
        return self.config.exec_root / "bundles" / ident
