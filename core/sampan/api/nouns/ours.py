"""Our own additions, which no Docker client asks for, under ``/sampan/``."""

from __future__ import annotations

from typing import Any

import msgspec

from sampan.api.call import Call, typed
from sampan.api.letters import Shape
from sampan.api.nouns import routes
from sampan.api.views import images
from sampan.api.views import ours as views
from sampan.api.wire.answer import Reply, json
from sampan.errors import Invalid
from sampan.networks.ports import PROTOCOLS

_FROM_HOST = Shape("programs reference")


class FromHost(msgspec.Struct, forbid_unknown_fields=True):
    """``programs`` are paths or names of executables on this host; none means a useful shell set."""

    programs: list[str] = []
    reference: str = "host:latest"


@routes.get("/sampan/drivers")
def drivers(call: Call) -> Any:
    return [msgspec.to_builtins(found) for found in call.engine.drivers.found()]


@routes.get("/sampan/containers/{id}/explain")
def explain(call: Call) -> Any:
    """The steps that made a container, as they were taken."""
    return views.explained(call.engine.containers.get(call.id), call.engine.containers.explain(call.id))


@routes.get("/sampan/containers/{id}/isolation")
def isolation(call: Call) -> Any:
    """What a running container's process really has of this machine."""
    return msgspec.to_builtins(call.engine.containers.isolation(call.id))


@routes.get("/sampan/doctor")
def doctor(call: Call) -> Any:
    """What is fine with host and engine, and what is not."""
    return views.examined(call.engine.diagnosis.host())


@routes.get("/sampan/containers/{id}/doctor")
def doctor_port(call: Call) -> Any:
    """``port=80`` or ``port=80/udp``: is it reachable, and if not, why?"""
    port, protocol = _port(call.query.text("port"))
    return views.walked(call.engine.diagnosis.port(call.id, port, protocol))


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 65536) or protocol not in PROTOCOLS:
        raise Invalid(
            f"invalid port {text!r}: write a number from 1 to 65535, and /udp or /sctp behind it if it is not TCP"
        )
    return int(number), protocol


@routes.post("/sampan/images/from-host")
def from_host(call: Call) -> Reply:
    """Makes an image of this host's own executables."""
    wish = typed(call.json(_FROM_HOST, optional=True), FromHost)
    image = call.engine.images.from_host(wish.programs, wish.reference)
    return json({"Id": image.id, "RepoTags": images.tags(image), "Size": image.size}, 201)


@routes.get("/sampan/images/verify")
def verify(call: Call) -> Any:
    """``names=``: read all that is kept of these images, or of all, and say what is damaged."""
    return call.engine.images.verify(call.query.every("names"))
