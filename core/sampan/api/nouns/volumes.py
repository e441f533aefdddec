"""Volumes: make, list, look at, remove. Also the build cache, of which there is none yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.api import letters
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.query import Filters
from sampan.api.views import volumes as views
from sampan.api.wire.answer import Reply, json
from sampan.errors import NotFound, Unavailable
from sampan.types import Volume
from sampan.volumes.service import ANONYMOUS

if TYPE_CHECKING:
    from sampan.engine import Engine

ALL_BEFORE = (1, 42)
"""Older clients mean all volumes that are unused when they prune, newer ones the anonymous."""


@routes.get("/volumes")
def list_volumes(call: Call) -> Any:
    filters = call.query.filters("dangling", "driver", "label", "label!", "name")
    volumes = call.engine.volumes
    chosen = [one for one in volumes.list() if _wanted(one, filters, used=bool(volumes.users(one.name)))]
    return {"Volumes": [_view(call.engine, one) for one in chosen], "Warnings": None}


@routes.get("/volumes/{name}")
def inspect(call: Call) -> Any:
    return _view(call.engine, call.engine.volumes.get(call.name))


@routes.post("/volumes/create")
def create(call: Call) -> Reply:
    volume = call.engine.volumes.create(call.json(letters.VOLUME_CREATE))
    return json(_view(call.engine, volume), 201)


@routes.put("/volumes/{name}")
def change(call: Call) -> Reply:
    raise Unavailable("only cluster volumes of a swarm can be changed, and this engine is in none")


@routes.delete("/volumes/{name}")
def remove(call: Call) -> None:
    try:
        call.engine.volumes.remove(call.name)
    except NotFound:
        if not call.query.flag("force"):
            raise


@routes.post("/volumes/prune")
def prune(call: Call) -> Any:
    filters = call.query.filters("all", "label", "label!")
    everything = call.version < ALL_BEFORE or bool(filters.flag("all"))
    removed, freed = call.engine.volumes.prune(
        lambda volume: (everything or ANONYMOUS in volume.labels) and filters.labels(volume.labels)
    )
    return {"VolumesDeleted": removed, "SpaceReclaimed": freed}


@routes.post("/build/prune")
def prune_builds(call: Call) -> Any:
    """``docker system prune`` asks for this, too."""
    return {"CachesDeleted": None, "SpaceReclaimed": 0}


@routes.get("/plugins", inline=True)
def list_plugins(call: Call) -> Any:
    """Docker's managed plugins, of which this engine has none: its drivers are Python packages."""
    return []


def usage(engine: Engine) -> list[dict[str, Any]]:
    """All volumes, with what they take."""
    volumes = engine.volumes
    return [
        views.with_usage(_view(engine, one), volumes.usage(one.name), len(volumes.users(one.name)))
        for one in volumes.list()
    ]


def _view(engine: Engine, volume: Volume) -> dict[str, Any]:
    return views.volume(volume, engine.volumes.mountpoint(volume.name))


def _wanted(volume: Volume, filters: Filters, *, used: bool) -> bool:
    dangling = filters.flag("dangling")
    return (
        (dangling is None or dangling != used)
        and ("driver" not in filters or volume.driver in filters.get("driver"))
        and ("name" not in filters or any(text in volume.name for text in filters.get("name")))
        and filters.labels(volume.labels)
    )
