"""Networks: list, look at, make, remove."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api import ages, letters
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.query import Filters
from sampan.api.times import nanoseconds
from sampan.api.views import networks as views
from sampan.api.wire.answer import Reply, json
from sampan.errors import Invalid
from sampan.types import Network

DEFAULT = ("bridge", "host", "none")


@routes.get("/networks")
@routes.get("/networks/")  # as older descriptions had it
def list_networks(call: Call) -> Any:
    filters = call.query.filters("dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until")
    networks = call.engine.networks
    more = _of_the_default(call)
    wanted = (one for one in networks.list() if _wanted(one, filters, networks.used))
    return [views.network(one, of_the_default=more) for one in wanted]


@routes.get("/networks/{id}")
def inspect(call: Call) -> Any:
    network = call.engine.networks.get(call.id)
    return views.network(network, call.engine.containers.list(), _of_the_default(call))


@routes.post("/networks/create")
def create(call: Call) -> Reply:
    body = call.json(letters.NETWORK_CREATE)
    if call.version < ages.PRIORITY:
        body.pop("EnableIPv4", None)
    network = call.engine.networks.create(body)
    return json({"Id": network.spec.id, "Warning": call.engine.networks.warning(network)}, 201)


@routes.delete("/networks/{id}")
def remove(call: Call) -> None:
    call.engine.networks.remove(call.id)


@routes.post("/networks/prune")
def prune(call: Call) -> Any:
    filters = call.query.filters("label", "label!", "until")
    networks = call.engine.networks
    removed = networks.prune(lambda network: _wanted(network, filters, networks.used))
    call.engine.events.publish("network", "prune", "", {"reclaimed": "0"})
    return {"NetworksDeleted": list(removed) or None}


@routes.post("/networks/{id}/connect")
def connect(call: Call) -> Reply:
    body = call.json(letters.NETWORK_CONNECT)
    settings = _settings(body)
    if call.version < ages.PRIORITY:
        settings.pop("GwPriority", None)
    call.engine.containers.connect(_container(body), call.id, settings)
    return Reply(200)


@routes.post("/networks/{id}/disconnect")
def disconnect(call: Call) -> Reply:
    body = call.json(letters.NETWORK_DISCONNECT)
    if not isinstance(body.get("Force"), bool | None):
        raise Invalid("Force must be true or false")
    call.engine.containers.disconnect(_container(body), call.id, force=bool(body.get("Force")))
    return Reply(200)


def _of_the_default(call: Call) -> dict[str, str]:
    """What the configuration says of the network ``bridge``."""
    config = call.engine.config.network
    mtu = (config.options.get("bridge") or {}).get("mtu", 1500)
    return {views.BINDING: str(config.publish_address), views.MTU: str(mtu)}


def _container(body: Mapping[str, Any]) -> str:
    reference = body.get("Container")
    if not isinstance(reference, str) or not reference:
        raise Invalid("no container is named: Container must be a name or an id")
    return reference


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    settings = body.get("EndpointConfig")
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise Invalid("EndpointConfig must be a JSON object")
    return dict(settings)


def _wanted(network: Network, filters: Filters, used: Callable[[Network], bool]) -> bool:
    spec = network.spec
    ours = spec.name in DEFAULT
    for kind in filters.get("type"):
        if kind not in ("builtin", "custom"):
            raise Invalid(f"invalid filter: 'type'='{kind}': it is builtin or custom")
    tests: dict[str, Callable[[str], object]] = {
        "driver": lambda wanted: wanted in (spec.driver, "null" if spec.driver == "none" else spec.driver),
        "id": lambda wanted: spec.id.startswith(wanted),
        "name": lambda wanted: re.search(re.escape(wanted).replace(r"\^", "^").replace(r"\$", "$"), spec.name),
        "scope": lambda wanted: wanted == "local",
        "type": lambda wanted: wanted == ("builtin" if ours else "custom"),
    }
    until = filters.until()
    if until is not None and nanoseconds(network.created) >= until:
        return False
    dangling = filters.flag("dangling")
    if dangling is not None and dangling == (ours or used(network)):
        return False
    return filters.labels(network.labels) and all(
        any(test(wanted) for wanted in filters.get(name)) for name, test in tests.items() if name in filters
    )
