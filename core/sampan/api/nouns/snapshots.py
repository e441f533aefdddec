"""Snapshots of containers' files: our own, so under ``/sampan/``. Which one is meant is the parameter ``snapshot``."""

from __future__ import annotations

from typing import Any

from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.views import files
from sampan.api.views import snapshots as views
from sampan.api.wire.answer import Reply, json


@routes.get("/sampan/containers/{id}/snapshots")
def list_snapshots(call: Call) -> Any:
    """A container's, the oldest first."""
    return [views.snapshot(each) for each in call.engine.containers.snapshots.list(call.id)]


@routes.post("/sampan/containers/{id}/snapshots")
def create(call: Call) -> Reply:
    """``name``, ``comment``, and ``pause=false`` to let the container run on meanwhile; all may be left out."""
    query = call.query
    made = call.engine.containers.snapshots.create(
        call.id, query.text("name"), comment=query.text("comment"), pause=query.flag("pause", True)
    )
    return json(views.snapshot(made), 201)


@routes.get("/sampan/containers/{id}/snapshots/changes")
def changes(call: Call) -> Any:
    """What the container changed since, or what another snapshot of it, ``to``, has otherwise."""
    found = call.engine.containers.snapshots.changes(call.id, call.query.needed("snapshot"), call.query.text("to"))
    return json(files.changes(found))


@routes.post("/sampan/containers/{id}/snapshots/restore")
def restore(call: Call) -> None:
    call.engine.containers.snapshots.restore(call.id, call.query.needed("snapshot"))


@routes.post("/sampan/containers/{id}/snapshots/containers")
def create_container(call: Call) -> Reply:
    """A container as this one was asked for, called ``name``, with the files of the snapshot."""
    name = call.query.text("name") or None
    made, warnings = call.engine.containers.create_like(call.id, call.query.needed("snapshot"), name)
    return json({"Id": made.id, "Warnings": warnings}, 201)


@routes.delete("/sampan/containers/{id}/snapshots")
def remove(call: Call) -> None:
    call.engine.containers.snapshots.remove(call.id, call.query.needed("snapshot"))
