"""Images: list, look at, name, remove; in from archives and out to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sampan.api import ages, patterns, platform
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.nouns.registries import pull
from sampan.api.progress import Leaving, Progress, told
from sampan.api.query import Filters
from sampan.api.times import nanoseconds
from sampan.api.views import images as views
from sampan.api.wire.answer import Reply, Stream
from sampan.api.wire.outlet import Outlet
from sampan.errors import Conflict, Invalid, NotFound
from sampan.images.references import familiar, parse
from sampan.images.registry.wishes import Remote
from sampan.types import Image

TAR = "application/x-tar"


@routes.get("/images/json")
def list_images(call: Call) -> Any:
    filters = call.query.filters("before", "dangling", "label", "label!", "reference", "since", "until")
    users = [container.image for container in call.engine.containers.list()]
    images = call.engine.images
    before = [nanoseconds(images.get(ref).created) for ref in filters.get("before")]
    since = [nanoseconds(images.get(ref).created) for ref in filters.get("since")]
    entries, everyone = [], images.list()
    shared = views.shared_sizes(everyone) if call.query.flag("shared-size") else {}
    old = call.query.text("filter") if call.version < ages.FILTERS else ""
    wanted_names = [patterns.compiled(each) for each in [*filters.get("reference"), *([old] if old else [])]]
    with_steps = call.query.flag("all") and not filters.flag("dangling")
    for image in everyone if with_steps else views.without_steps(everyone):
        created = nanoseconds(image.created) if image.created else 0
        if not all(created < limit for limit in before) or not all(created > limit for limit in since):
            continue
        entry = views.summary(image, users.count(image.id), call.version)
        if _dangles(image, filters) and _wanted(image, filters) and _by_reference(entry, wanted_names):
            entry["SharedSize"] = shared.get(image.id, -1)
            entries.append(entry | _manifests(call, image, ages.MANIFESTS))
    return entries


@routes.get("/images/{name}/json")
def inspect(call: Call) -> Any:
    image = call.engine.images.get(call.name)
    platform.check(image, call.query.text("platform"), call.name)
    entry = views.inspect(image, call.engine.config.storage.driver, call.version)
    return entry | _manifests(call, image, ages.MANIFESTS_OF_ONE)


def _manifests(call: Call, image: Image, since: ages.Version) -> dict[str, Any]:
    """``Manifests`` and ``Descriptor`` for who asks for them. An image here has one manifest: this machine's."""
    if call.version < since or not call.query.flag("manifests"):
        return {}
    found = call.engine.images.described(image)
    users = [each.id for each in call.engine.containers.list() if each.image == image.id]
    return views.manifests(image, platform.of(image), found, users) if found else {"Manifests": []}


@routes.get("/images/{name}/history")
def history(call: Call) -> Any:
    platform.check(call.engine.images.get(call.name), call.query.text("platform"), call.name)
    return call.engine.images.history(call.name)


@routes.post("/images/{name}/tag")
def tag(call: Call) -> Reply:
    repository, label = call.query.needed("repo"), call.query.text("tag")
    call.engine.images.tag(call.name, f"{repository}:{label}" if label else repository)
    return Reply(201)


@routes.delete("/images/{name}")
def remove(call: Call) -> Any:
    return call.engine.images.remove(call.name, force=call.query.flag("force"), prune=not call.query.flag("noprune"))


@routes.post("/images/prune")
def prune(call: Call) -> Any:
    """Images without a name that no container uses; with ``dangling=false`` those with a name, too."""
    filters = call.query.filters("dangling", "label", "label!", "until")
    dangling_only = filters.flag("dangling") is not False
    images, removed = call.engine.images, []
    filters.until()  # of which there may be one only, as with dockerd
    everyone = images.list()
    before = views.layers_size(everyone)
    users: dict[str, list[str]] = {}  # by image: what containers call it
    for container in call.engine.containers.list():
        users.setdefault(container.image, []).append(container.config["Image"])
    for image in views.without_steps(everyone):
        if (dangling_only and image.references) or not _wanted(image, filters):
            continue
        # By name, one that others stand on loses its names and stays until they are gone.
        names = [familiar(each) for each in (*image.references, *image.repo_digests)] or [image.id]
        for name in _idle(image, users[image.id]) if image.id in users else names:
            with suppress(Conflict, NotFound):  # it came into use, or went, meanwhile
                removed += images.remove(name, force=name == image.id, prune=True)
    space = max(before - views.layers_size(images.list()), 0) + images.sweep()
    call.engine.events.publish("image", "prune", "", {"reclaimed": str(space)})
    return {"ImagesDeleted": removed or None, "SpaceReclaimed": space}


@routes.post("/images/create", streams=True)
def create(call: Call) -> Stream:
    """``docker import`` and ``docker pull``."""
    query = call.query
    source = query.text("fromSrc")
    if not source:
        return pull(call)
    repository, label = query.text("repo"), query.text("tag")
    upload = call.upload() if source == "-" else None

    def work(progress: Progress, leaving: Leaving) -> None:
        image = call.engine.images.import_(
            upload or Remote(source, progress, leaving),
            reference=(f"{repository}:{label}" if label else repository) or None,
            changes=[change for text in query.every("changes") for change in text.splitlines()],
            message=query.text("message"),
            platform=query.text("platform"),
        )
        progress({"status": image.id})

    return Stream(told(call, work))


@routes.post("/images/load", streams=True)
def load(call: Call) -> Stream:
    platform.check_ours(call.query.text("platform"))
    upload, quiet = call.upload(), call.query.flag("quiet")

    def work(progress: Progress, _: Leaving) -> None:
        call.engine.images.load(upload, lambda m: None if quiet and "progressDetail" in m else progress(m))

    return Stream(told(call, work, in_stream=True))  # dockerd answers 200 to any archive: docker-py counts on it


@routes.get("/images/get")
def save_several(call: Call) -> Stream:
    return _save(call, call.query.every("names"))


@routes.get("/images/{name}/get")
def save_one(call: Call) -> Stream:
    return _save(call, [call.name])


def _save(call: Call, names: list[str]) -> Stream:
    if len(call.query.every("platform")) > 1:
        raise Invalid("multiple platform parameters not supported")
    wanted = call.query.text("platform")
    for image, kept in call.engine.images.select(names):
        platform.check(image, wanted, familiar(kept[0]) if kept else image.id)

    def work(outlet: Outlet) -> None:
        with outlet.file() as out:
            call.engine.images.save(names, out)

    return Stream(call.from_thread(work), content_type=TAR)


def _idle(image: Image, used_as: Iterable[str]) -> list[str]:
    """The names of an image in use that no container was made by; one stays in any case."""
    used = set()
    for text in used_as:
        with suppress(Invalid):  # part of an id
            used.add(str(parse(text).tagged()))
    idle = sorted(familiar(each) for each in image.references if each not in used)
    return idle[:-1] if len(idle) == len(image.references) else idle


def _dangles(image: Image, filters: Filters) -> bool:
    """The filter ``dangling``: true for what has no tag, false for what has any name. So what was pulled by its digest
    is found by both, as dockerd does it, and pruned, though it has a name."""
    wanted = filters.flag("dangling")
    if wanted is None:
        return True
    return not image.references if wanted else bool(image.references or image.repo_digests)


def _wanted(image: Image, filters: Filters) -> bool:
    until = filters.first_until()
    created = nanoseconds(image.created) if image.created else 0
    return filters.labels(views.labels(image)) and (until is None or created < until)


def _by_reference(entry: dict[str, Any], wanted: list[patterns.Pattern]) -> bool:
    """Keeps of an entry the names that match any of the patterns: ``busy*``, ``*/tool:1.?``; none left: not wanted."""
    if not wanted:
        return True
    for key in ("RepoTags", "RepoDigests"):
        entry[key] = [name for name in entry[key] if any(_matches(each, name) for each in wanted)]
    return bool(entry["RepoTags"] or entry["RepoDigests"])


def _matches(pattern: patterns.Pattern, name: str) -> bool:
    repository = re.sub(r"(:[^:/]+|@.*)$", "", name)
    return bool(pattern.fullmatch(name) or pattern.fullmatch(repository))
