"""Hooks: functions that watch or amend, never replace a driver. Loaded by pluggy from the group ``sampan.hooks``.

A package announces a module or an object under that group and marks its functions with :data:`hookimpl`::

    from sampan.drivers import hookimpl

    @hookimpl
    def container_event(event): ...

A hook that raises is reported by name in the daemon's log and passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

PROJECT = "sampan"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hook specifications."""

    @hookspec
    def container_starting(self, container: Mapping[str, Any], spec: dict[str, Any]) -> None:
        """A container is about to start: amend ``spec``, its OCI runtime configuration, in place.

        ``container`` holds ``id``, ``name``, ``image``, ``labels``, ``runtime``.
        """

    @hookspec
    def container_event(self, event: Mapping[str, Any]) -> None:
        """Something happened: ``event`` has the shape of Docker's event messages (Type, Action, Actor, time)."""
