"""Volumes: there are none yet, and asking for the list is how clients find out."""

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
