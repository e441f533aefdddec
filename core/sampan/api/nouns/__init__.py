"""The handlers, one module per noun of the Engine API; importing this package declares all routes."""

from __future__ import annotations

from importlib import import_module

from sampan.api.router import Routes

routes = Routes()

_NOUNS = "system containers snapshots archive streams resources exec images networks volumes events ours unbuilt"

for _noun in _NOUNS.split():
    import_module(f"{__name__}.{_noun}")
