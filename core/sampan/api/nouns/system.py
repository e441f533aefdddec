"""The engine as a whole: is it there, what is it, what does it hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.nouns.containers import find_network, shown_image, sizes_if_told
from sampan.api.nouns.events import count_listeners
from sampan.api.nouns.volumes import usage as volumes_usage
from sampan.api.views import containers as views
from sampan.api.views import images as image_views
from sampan.api.views import system
from sampan.api.wire.answer import Reply

_PING = {
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}
_PONG = Reply(200, b"OK", "text/plain; charset=utf-8", _PING)


@routes.get("/_ping", inline=True)
def ping(call: Call) -> Reply:
    return _PONG


@routes.head("/_ping", inline=True)
def ping_head(call: Call) -> Reply:
    return _PONG


@routes.get("/version", inline=True)
def version(call: Call) -> Any:
    return system.version()


@routes.get("/info")
def info(call: Call) -> Any:
    told = system.info(call.engine, count_listeners())
    if call.version < (1, 50):
        told |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    if call.version < (1, 49):
        del told["FirewallBackend"]
    return told


@routes.get("/system/df")
def disk_usage(call: Call) -> Any:
    """What images, containers and volumes take; ``type`` asks for some of them only."""
    wanted = set(call.query.every("type")) or {"container", "image", "volume", "build-cache"}
    engine = call.engine
    answer: dict[str, Any] = {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}
    everyone = engine.containers.list()
    if "image" in wanted:
        images = engine.images.list()
        answer["LayersSize"] = image_views.layers_size(images)
        uses = Counter(container.image for container in everyone)
        shared = image_views.shared_sizes(images)
        answer["Images"] = [
            {**image_views.summary(image, uses[image.id], call.version), "SharedSize": shared[image.id]}
            for image in image_views.without_steps(images)
        ]
    if call.version < (1, 42):
        answer["BuilderSize"] = 0
    if "container" in wanted:
        find = find_network(engine)
        answer["Containers"] = [
            views.summary(c, shown_image(engine, c), find, sizes_if_told(engine, c)) for c in everyone
        ]
    if "volume" in wanted:
        answer["Volumes"] = volumes_usage(engine)
    return answer
