"""Hooks: functions that watch or amend, never replace a driver. Loaded by pluggy from the group ``sampan.hooks``.

A package announces a module or an object under that group and marks its functions with :data:`hookimpl`. Each takes
the arguments that it wants, by name::

    from sampan.drivers import hookimpl

    @hookimpl
    def container_creating(container, labels):
        labels["fleet"] = "north"

Two kinds, and what the engine promises of each:

- **Amending** hooks (``container_creating``, ``container_starting``) are waited for. They get copies, one hook after
  another, each with what those before it made of them; what they change is taken over when they return. ``tryfirst``
  and ``trylast`` say who goes first.
- **Watching** hooks (all others) are told in threads of their own, one for each hook, in the order of events, and
  nobody waits for them. A hook that is too slow misses events, and the log says so.

A hook that raises, or gives back what no container could be started with, is passed over: its changes are dropped, and
the container goes on without them. So is one that has not returned within two seconds (``hooks.patience`` in
``config.yaml``); from then on it is not called until that call has returned. Each is reported by name in the daemon's
log and in ``sampan drivers``. Where no package has hooks, none of this costs anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

PROJECT = "sampan"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hook specifications.

    ``container`` holds ``id``, ``name``, ``image`` (as the user named it), ``labels``, ``runtime`` and ``storage``.
    An ``event`` has the shape of Docker's event messages (``EventMessage`` of the Engine API): ``Type``, ``Action``,
    ``Actor`` with ``ID`` and ``Attributes``, ``time`` and ``timeNano``.
    """

    @hookspec
    def container_creating(self, container: Mapping[str, Any], labels: dict[str, str]) -> None:
        """A container is about to be made: amend its labels in place. Values are strings."""

    @hookspec
    def container_starting(self, container: Mapping[str, Any], spec: dict[str, Any]) -> None:
        """A container is about to start: amend ``spec``, its OCI runtime configuration, in place."""

    @hookspec
    def container_event(self, event: Mapping[str, Any]) -> None:
        """Something happened to a container: create, start, die, oom, health_status, destroy …"""

    @hookspec
    def image_event(self, event: Mapping[str, Any]) -> None:
        """An image has come (pull, load, import), was tagged, untagged or deleted …"""

    @hookspec
    def network_event(self, event: Mapping[str, Any]) -> None:
        """A network was made (create) or removed (destroy), or a container has joined or left it
        (connect, disconnect)."""

    @hookspec
    def volume_event(self, event: Mapping[str, Any]) -> None:
        """A volume was made (create), removed (destroy), or mounted or unmounted for a container."""
