"""What a container without wishes of its own looks like: runtimes make ahead for those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.containers.bundle import spec
from sampan.containers.bundle.users import User
from sampan.containers.requests import config
from sampan.types import Container


def usual() -> dict[str, Any]:
    """Its OCI runtime configuration."""
    asked = config.read({"Image": "any", "Cmd": ["any"]})
    config.merge(asked, {})
    completed, host = config.complete(asked, "0" * 64, config.Defaults())
    container = Container(
        id="0" * 64,
        name="",
        created="",
        image="",
        image_reference="",
        layer="",
        config=completed,
        host_config=host,
        path="any",
        args=[],
        storage_driver="",
        runtime="",
    )
    root = User(0, 0, (), "/root")
    around = spec.Surroundings(rootfs=Path("/"), user=root, files={}, network=None, own_network=True)
    return spec.build(container, around)
