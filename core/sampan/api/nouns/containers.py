"""Containers: make them, look at them, take them through their lives. Their streams are in ``streams``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sampan.api import ages, letters
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.nouns.selection import ContainerFilter
from sampan.api.views import containers as views
from sampan.api.views.endpoints import FindNetwork, with_short_id
from sampan.api.wire.answer import Reply, json
from sampan.errors import NotFound, SampanError
from sampan.types import Container, Network, Status

if TYPE_CHECKING:
    from sampan.engine import Engine

log = logging.getLogger(__name__)


@routes.post("/containers/create")
def create(call: Call) -> Reply:
    body = call.json(letters.CONTAINER_CREATE)
    ages.adapt(body, call.version)
    container, warnings = call.engine.containers.create(
        call.query.text("name") or None,
        body,
        call.query.text("platform") if call.version >= ages.PLATFORM else "",
        shallow=call.version < ages.RECURSIVE,
    )
    return json({"Id": container.id, "Warnings": warnings}, 201)


@routes.get("/containers/json")
def list_containers(call: Call) -> Any:
    """Newest first. ``limit`` counts containers that do not run, too."""
    query, engine = call.query, call.engine
    wanted = ContainerFilter(engine, query.filters(*ContainerFilter.KNOWN))
    limit = max(0, query.number("limit") or 0)
    everyone = query.flag("all") or limit > 0 or wanted.asks_for_states
    find, with_size, linked = find_network(engine), query.flag("size"), engine.containers.link_names()
    chosen = [c for c in engine.containers.list() if (everyone or c.state.status in views.RUNNING) and wanted(c)]
    told = [
        views.summary(c, shown_image(engine, c), find, sizes_if_told(engine, c) if with_size else None)
        for c in (chosen[:limit] if limit else chosen)
    ]
    for entry in told if linked else ():
        entry["Names"] += linked.get(entry["Id"], [])
    if call.version < (1, 46):
        for entry in told:
            entry["HostConfig"].pop("Annotations", None)
    return told


@routes.get("/containers/{id}/json")
def inspect(call: Call) -> Any:
    engine = call.engine
    container = engine.containers.latest(call.id)
    size = sizes(engine, container) if call.query.flag("size") else None
    execs, files = engine.execs.of(container.id), engine.containers.files(container.id)
    sandbox = engine.networks.sandbox_of(container)
    entry = views.inspect(container, find_network(engine), execs, files, size, _root(engine, container), sandbox)
    if links := engine.containers.links(container.id):
        entry["HostConfig"] = {**container.host_config, "Links": links}
    if call.version < (1, 45):
        with_short_id(entry["NetworkSettings"]["Networks"], container.id)
    return entry


@routes.post("/containers/{id}/start")
def start(call: Call) -> None:
    call.engine.containers.start(call.id)


@routes.post("/containers/{id}/stop")
def stop(call: Call) -> None:
    call.engine.containers.stop(call.id, call.query.number("t"), call.query.text("signal") or None, call.client)


@routes.post("/containers/{id}/restart")
def restart(call: Call) -> None:
    call.engine.containers.restart(call.id, call.query.number("t"), call.query.text("signal") or None, call.client)


@routes.post("/containers/{id}/kill")
def kill(call: Call) -> None:
    try:
        call.engine.containers.kill(call.id, call.query.text("signal") or "SIGKILL", call.client)
    except SampanError as error:
        error.args = (f"cannot kill container: {call.id}: {error.message}",)
        raise


@routes.post("/containers/{id}/pause")
def pause(call: Call) -> None:
    call.engine.containers.pause(call.id)


@routes.post("/containers/{id}/unpause")
def unpause(call: Call) -> None:
    call.engine.containers.unpause(call.id)


@routes.post("/containers/{id}/rename")
def rename(call: Call) -> None:
    call.engine.containers.rename(call.id, call.query.needed("name"))


@routes.delete("/containers/{id}")
def remove(call: Call) -> None:
    if call.query.flag("link"):
        call.engine.containers.unlink(call.id)
        return
    force, volumes = call.query.flag("force"), call.query.flag("v")
    call.engine.containers.remove(call.id, force=force, volumes=volumes, by=call.client)


@routes.get("/containers/{id}/top")
def top(call: Call) -> Any:
    return call.engine.containers.top(call.id, call.query.text("ps_args", "-ef") or "-ef")


@routes.post("/containers/prune")
def prune(call: Call) -> Any:
    engine = call.engine
    wanted = ContainerFilter(engine, call.query.filters("label", "label!", "until"))
    removed, space = [], 0
    for container in engine.containers.list():
        if container.state.status not in (Status.CREATED, Status.EXITED, Status.DEAD) or not wanted(container):
            continue
        try:
            size = sizes_if_told(engine, container)[0]
            engine.containers.remove(container.id)
        except SampanError:  # it was started or removed meanwhile
            continue
        removed.append(container.id)
        space += size
    engine.events.publish("container", "prune", "", {"reclaimed": str(space)})
    return {"ContainersDeleted": removed or None, "SpaceReclaimed": space}


def find_network(engine: Engine) -> FindNetwork:
    """Looks networks up by id, each once."""
    known: dict[str, Network | None] = {}

    def find(ident: str) -> Network | None:
        if ident not in known:
            try:
                known[ident] = engine.networks.get(ident)
            except NotFound:
                known[ident] = None
        return known[ident]

    return find


def shown_image(engine: Engine, container: Container) -> str:
    """The name that the user gave, unless it names another image by now."""
    name = container.image_reference
    try:
        return name if engine.images.get(name).id == container.image else container.image
    except SampanError:
        return container.image


def _root(engine: Engine, container: Container) -> Mapping[str, str]:
    try:
        return engine.drivers.storage(container.storage_driver).describe(container.root)
    except SampanError:  # it is going, or its driver is not here any more
        return {}


def sizes(engine: Engine, container: Container) -> views.Sizes:
    own = engine.drivers.storage(container.storage_driver).usage(container.root)
    try:
        return own, own + engine.images.get(container.image).size
    except NotFound:
        return own, own


def sizes_if_told(engine: Engine, container: Container) -> views.Sizes:
    """Of one among many, that may be going, or whose driver may be broken: the others' sizes are told all the same."""
    try:
        return sizes(engine, container)
    except SampanError as error:
        log.warning("what container %s takes is not told: %s", container.name, error.message)
        return 0, 0
