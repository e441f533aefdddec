"""The handlers, one module per noun of the Engine API; importing this package declares all routes."""

from __future__ import annotations

from importlib import import_module

from sampan.api.router import Routes

routes = Routes()

for _noun in ("system", "containers", "streams", "exec", "images", "networks", "volumes", "events", "ours", "unbuilt"):
    import_module(f"{__name__}.{_noun}")
