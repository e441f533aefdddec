"""What the Engine API describes and this engine does not do yet: 501 and a sentence, so that nobody has to guess.

Whoever builds one takes its line out; a path declared twice does not start.
"""

from __future__ import annotations

from functools import partial

from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.router import Route
from sampan.errors import Unavailable, Unsupported

OPERATIONS = """
POST   /build                       building an image
POST   /build/cancel                cancelling a build
POST   /session                     building with BuildKit
GET    /plugins/privileges          managing Docker's plugins
POST   /plugins/pull                managing Docker's plugins
GET    /plugins/{name}/json         managing Docker's plugins
DELETE /plugins/{name}              managing Docker's plugins
POST   /plugins/{name}/enable       managing Docker's plugins
POST   /plugins/{name}/disable      managing Docker's plugins
POST   /plugins/{name}/upgrade      managing Docker's plugins
POST   /plugins/create              managing Docker's plugins
POST   /plugins/{name}/push         managing Docker's plugins
POST   /plugins/{name}/set          managing Docker's plugins
GET    /nodes                       swarm mode
GET    /nodes/{id}                  swarm mode
DELETE /nodes/{id}                  swarm mode
POST   /nodes/{id}/update           swarm mode
GET    /swarm                       swarm mode
POST   /swarm/init                  swarm mode
POST   /swarm/join                  swarm mode
POST   /swarm/leave                 swarm mode
POST   /swarm/update                swarm mode
GET    /swarm/unlockkey             swarm mode
POST   /swarm/unlock                swarm mode
GET    /services                    swarm mode
POST   /services/create             swarm mode
GET    /services/{id}               swarm mode
DELETE /services/{id}               swarm mode
POST   /services/{id}/update        swarm mode
GET    /services/{id}/logs          swarm mode
GET    /tasks                       swarm mode
GET    /tasks/{id}                  swarm mode
GET    /tasks/{id}/logs             swarm mode
GET    /secrets                     swarm mode
POST   /secrets/create              swarm mode
GET    /secrets/{id}                swarm mode
DELETE /secrets/{id}                swarm mode
POST   /secrets/{id}/update         swarm mode
GET    /configs                     swarm mode
POST   /configs/create              swarm mode
GET    /configs/{id}                swarm mode
DELETE /configs/{id}                swarm mode
POST   /configs/{id}/update         swarm mode
"""


SWARM = "swarm mode"
_NO_MEMBER = "This node is not part of a swarm"
_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_BEGINNINGS = ("/swarm/init", "/swarm/join")


def _refuse(operation: str, path: str, call: Call) -> None:
    """Clients tidy up by leaving a swarm that they may never have been in: what asks for one is answered as by a
    dockerd that is in none, and only who would make one hears that there are none here."""
    if operation == SWARM and path not in _BEGINNINGS:
        raise Unavailable(_NO_MEMBER if path == "/swarm/leave" else _NO_MANAGER)
    raise Unsupported(f"{operation} is not supported by this engine yet ({call.request.method} {call.request.path})")


for _line in OPERATIONS.strip().splitlines():
    _method, _path, _operation = _line.split(None, 2)
    routes.add(_method, _path, Route(partial(_refuse, _operation, _path), inline=True, streams=False))
