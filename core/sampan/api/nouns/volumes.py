"""Volumes and the build cache: there are none yet, so lists are empty and there is nothing to prune."""

from __future__ import annotations

from typing import Any

from sampan.api.call import Call
from sampan.api.nouns import routes


@routes.get("/volumes", inline=True)
def list_volumes(call: Call) -> Any:
    return {"Volumes": [], "Warnings": None}


@routes.get("/plugins", inline=True)
def list_plugins(call: Call) -> Any:
    """Docker's managed plugins, of which this engine has none: its drivers are Python packages."""
    return []


@routes.post("/volumes/prune")
def prune_volumes(call: Call) -> Any:
    return {"VolumesDeleted": [], "SpaceReclaimed": 0}


@routes.post("/build/prune")
def prune_builds(call: Call) -> Any:
    """``docker system prune`` asks for this, too."""
    return {"CachesDeleted": [], "SpaceReclaimed": 0}
